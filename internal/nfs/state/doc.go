// Package state is what an NFSv4.1 server remembers of its clients: client
// ids, sessions and their reply caches, opens with share reservations,
// byte-range locks, leases and grace (RFC 8881 §2.10, §8, §9). It is pure: the
// time is an argument, and there is no input or output. What must happen
// outside because of a change, such as letting go of an inode, is returned as
// Effects; the caller carries them out.
//
// A Table may be used from many goroutines. It has one mutex; nothing waits
// while holding it. Byte slices given to it are copied when they are kept.
//
// Words: a client is one incarnation of a client owner at one server identity;
// an identity is an address space of the server whose clients must not be
// mixed up (RFC 8881 §2.5): "" is the shared address, the name of an export its
// mount target. A turn is a request of an owner of NFSv4.0, which are carried
// out one after another (RFC 7530 §9.1.7); that version is in the files v40_*.
package state
