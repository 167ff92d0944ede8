// Package seal is encryption at rest: the data key of a file system, how keys
// that are kept elsewhere wrap it, and files that are encrypted with it.
//
// Everything is AES-256-GCM. Each file, and each segment of a journal, has a
// key of its own, derived from the data key and 32 random bytes that stand in
// it in the clear; within one, a nonce is a place, and no place is ever written
// with two contents. docs/formats/encryption.md draws what is on disk.
//
// What it keeps secret from whoever has the disk but not the region's key:
// file data, names, attributes, settings, what is salvaged. What it does not:
// how much there is, in how many records and when; lineage and positions. A
// changed byte in what is read is an error, never other data. What the format
// page lists as not noticed takes somebody who can write to the disk.
package seal
