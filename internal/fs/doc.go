// Package fs holds the nouns of Holdfast: identities, attributes, requests,
// mutations, records and positions, with their frozen encodings and the errors
// that every layer speaks. It imports nothing of ours and does nothing: no
// clock, no randomness, no disk, no network.
//
// Everything here is a value. Values may be shared between goroutines as long
// as nobody changes them; byte slices inside them belong to whoever made the
// value unless a comment says otherwise.
package fs
