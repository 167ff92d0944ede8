// Package xdr is the codec of NFSv4 (RFC 4506, RFC 5662): a Reader that is a
// cursor over one buffer, a Writer that appends to one pooled buffer, and the
// protocol's numbers. There is no reflection and no copy: a Reader returns
// slices of its input, and a Writer hands out room to be filled in place.
//
// A Reader never allocates in proportion to a length that the input claims.
// Both are used by one goroutine at a time.
package xdr
