// Package tree is the state that a journal describes: inodes, directory
// entries, extents, settings and counters, kept in one pebble store per file
// system. Apply is the only way to change it, and it is deterministic: the same
// records give the same logical content live, in recovery and on a replica.
//
// A Tree has one applier at a time. Readers may run beside each other and
// beside Prepare, but not beside Commit: the engine holds a read-write lock
// around both.
package tree
