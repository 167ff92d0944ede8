// Package oncrpc carries RPC version 2 over TCP (RFC 5531): record marking,
// call and reply headers, AUTH_NONE and AUTH_SYS, and the loop that serves a
// connection.
//
// A record's size is checked before anything is allocated for it, and memory
// grows only with bytes that have arrived. A connection has a bounded number
// of requests in flight, so a peer that does not read its replies stops being
// read from.
package oncrpc
