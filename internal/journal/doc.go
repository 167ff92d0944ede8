// Package journal is an append-only log of fs.Records and their payloads: the
// one store of a file system's bytes, and the commit point of every change.
// docs/formats/journal.md fixes the bytes on disk, the order in which they are
// written, and the argument why recovery may trust them.
//
// One writer goroutine syncs for everybody (group commit). Appends go into a
// batch in memory whose place on disk is already fixed, so that addresses are
// known at once; large payloads are written by the caller itself.
//
// Clean gives back the space of segments that nobody needs any more, after it
// has copied what somebody does (clean.go, closed.go, moved.go).
//
// Lock order: Journal.appendMu, Journal.ioMu, Journal.payMu, Journal.mu,
// files.mu. No disk access happens under Journal.mu.
package journal
