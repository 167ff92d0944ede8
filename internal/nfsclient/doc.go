// Package nfsclient is a user-space NFSv4.1 client (RFC 8881): enough of one to
// look at a file system, to change it, and to copy trees in and out fast. It
// needs no privileges and no mount.
//
// A Client is one session over one connection and may be shared by many
// goroutines; each call takes a slot of the session. When the connection breaks
// the client connects again and sends what was not answered on the same slots
// with the same sequence ids, so that the server carries each request out once.
// When the server has forgotten the session (a restart, a failover) the client
// makes a new one. Requests that were under way are then sent again, and since
// nobody remembers whether they were carried out, a change that finds itself
// done already ("exists" of a MKDIR, "no such file" of a REMOVE) counts as done.
//
// NFS4ERR_DELAY and NFS4ERR_GRACE are waited out, as is a server that is away:
// a call ends when its context does. Symbolic links are never followed.
//
// Reads use the anonymous stateid and hold no open files. Files are written in
// one go (WriteFile) and closed at once; nothing is open between calls, so
// nothing has to be reclaimed.
//
// Lock order: a link's mutex is the only lock. It is not held while sending,
// receiving or waiting.
package nfsclient
