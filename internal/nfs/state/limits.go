package state

import "time"

// Limits. Each bounds memory that a client could otherwise make the server
// take; all are far above what Linux uses.
const (
	// MaxClients bounds client records, confirmed or not: about 1 KiB each.
	MaxClients = 65536
	// MaxSessionsPerClient: Linux has one, and one more while it recovers.
	MaxSessionsPerClient = 16
	// MaxSlots is the size of a session's slot table. Linux asks for 64.
	MaxSlots = 64
	// MaxOps bounds a COMPOUND. The longest of Linux has 14 operations.
	MaxOps = 64
	// MaxCachedReply is the largest reply that a slot keeps, bytes: 64 slots
	// take at most 256 KiB. A reply to CREATE, OPEN or RENAME has under 1 KiB.
	MaxCachedReply = 4096
	// MinChannel is the least request or reply size that works, bytes: a
	// COMPOUND of SEQUENCE, PUTFH and an operation with a short name, after an
	// RPC header with AUTH_SYS.
	MinChannel = 256
	// MinBackOps is what a callback takes: CB_SEQUENCE and CB_RECALL.
	MinBackOps = 2
	// MaxStatesPerClient bounds opens and lock owners of files of one client:
	// about 300 bytes each.
	MaxStatesPerClient = 200_000
	// MaxStates bounds those of all clients together.
	MaxStates = 2_000_000
	// MaxLocksPerFile bounds the byte ranges locked in one file; every lock
	// request looks at all of them.
	MaxLocksPerFile = 10_000
	// MaxWaitersPerFile bounds the queue of blocking lock requests of a file;
	// every change of its locks compares all of them with each other. Those
	// that find no room are denied as ever, and have no place until they ask
	// again when there is some.
	MaxWaitersPerFile = 256
	// maxWakeWork bounds the comparisons of waiters with locks after a change,
	// about half a millisecond; leastWake waiters are looked at in any case.
	maxWakeWork = 200_000
	leastWake   = 8
	// MaxWaitersPerClient bounds those of a client: each is a process of it
	// that waits.
	MaxWaitersPerClient = 4096
	// MaxWaiters bounds those of all clients, about 300 bytes each.
	MaxWaiters = 100_000
	// MaxDelegsPerClient bounds delegations of one client. Linux returns those
	// that it does not use when it has more than 5,000.
	MaxDelegsPerClient = 10_000

	// CourtesyTime is how long the state of a client is kept after its lease
	// when nobody conflicts with it: a laptop that sleeps, a network that is
	// down. It holds the space of files that were removed while open.
	CourtesyTime = 24 * time.Hour
	// reclaimPause is how long nobody must have reclaimed anything before a
	// grace whose time is over ends.
	reclaimPause = 2 * time.Second
	// maxMoreGrace is by how much reclaims make a grace longer: with a short
	// lease, a thousand clients need more than that to come back.
	maxMoreGrace = 2 * time.Minute
	// noticePatience is how long a lock is kept for a waiter that has been told
	// of it: many round trips, even of a busy client.
	noticePatience = 2 * time.Second
	// leastPatience is what is left of it when many have not come.
	leastPatience = 50 * time.Millisecond
	// pollPatience is how much later a waiter may ask again than expected.
	// Linux asks for the second time after a second.
	pollPatience = 2 * time.Second
	// waiterLife is how long a waiter that does not ask again has its place.
	// Linux asks every 30 seconds at least.
	waiterLife = 45 * time.Second
	// idleGrace is by how much a grace outlasts its time while nobody wants
	// anything but to reclaim: clients may come late, because somebody has yet
	// to move their address, and until then it is in nobody's way. Files without
	// a name that they had open take their space so long.
	idleGrace = 10 * time.Minute
	// coolTime is how long no delegation is given of a file of which one was
	// recalled: who shares a file will share it again.
	coolTime = 30 * time.Second
	// maxCool bounds how many such files are remembered.
	maxCool = 10_000
)

// MaxOpenOwners bounds the open owners of one client of minor version 0: about
// 500 bytes each. Linux has one for each user and mount.
const MaxOpenOwners = 100_000
