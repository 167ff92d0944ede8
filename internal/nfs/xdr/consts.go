package xdr

// Program, version and procedures (RFC 8881 §16.1).
const (
	Program       = 100003
	Version       = 4
	ProcNull      = 0
	ProcCompound  = 1
	MinorVersion1 = 1
	MinorVersion2 = 2
)

// Sizes (RFC 8881 §3.1), bytes.
const (
	FHSize      = 128  // NFS4_FHSIZE
	OpaqueLimit = 1024 // NFS4_OPAQUE_LIMIT
)

// The bits of ACCESS (RFC 8881 §18.1).
const (
	Access4Read    = 0x01
	Access4Lookup  = 0x02
	Access4Modify  = 0x04
	Access4Extend  = 0x08
	Access4Delete  = 0x10
	Access4Execute = 0x20
	// Of extended attributes (RFC 8276 §8.5).
	Access4XARead  = 0x40
	Access4XAWrite = 0x80
	Access4XAList  = 0x100
)

// OPEN: share reservations (RFC 8881 §18.16).
const (
	ShareRead  = 1
	ShareWrite = 2
	ShareBoth  = 3

	DenyNone = 0
	DenyBoth = 3

	ShareWantMask = 0xff00  // the client's wishes about delegations
	ShareWhenMask = 0x30000 // and when it wants to be told
)

// OPEN: opentype4, createmode4, claims, delegation types, result flags.
const (
	OpenNoCreate = 0
	OpenCreate   = 1

	CreateUnchecked   = 0
	CreateGuarded     = 1
	CreateExclusive   = 2
	CreateExclusive41 = 3

	ClaimNull         = 0
	ClaimPrevious     = 1
	ClaimDelegateCur  = 2
	ClaimDelegatePrev = 3
	ClaimFH           = 4
	ClaimDelegCurFH   = 5
	ClaimDelegPrevFH  = 6

	DelegateNone    = 0
	DelegateRead    = 1
	DelegateWrite   = 2
	DelegateNoneExt = 3

	WhyNoDelegNotWanted  = 0
	WhyNoDelegContention = 1
	WhyNoDelegResource   = 2
	WhyNoDelegUpgrade    = 5
	WhyNoDelegDowngrade  = 6
	WhyNoDelegCanceled   = 7

	OpenResultConfirm          = 0x02
	OpenResultLockPOSIX        = 0x04
	OpenResultPreserveUnlinked = 0x08
	OpenResultMayNotifyLock    = 0x20
)

// nfs_lock_type4.
const (
	LockRead      = 1
	LockWrite     = 2
	LockReadWait  = 3
	LockWriteWait = 4
	LockToEOF     = 1<<64 - 1 // length of a lock that has no end
)

// stable_how4.
const (
	Unstable = 0
	DataSync = 1
	FileSync = 2
)

// EXCHANGE_ID flags (RFC 8881 §18.35).
const (
	ExchgSuppMovedRefer   = 0x00000001
	ExchgSuppMovedMigr    = 0x00000002
	ExchgSuppFenceOps     = 0x00000004 // NFSv4.2
	ExchgBindPrincStateID = 0x00000100
	ExchgUseNonPNFS       = 0x00010000
	ExchgUsePNFSMDS       = 0x00020000
	ExchgUsePNFSDS        = 0x00040000
	ExchgMaskPNFS         = 0x00070000
	ExchgUpdConfirmedRecA = 0x40000000
	ExchgConfirmedR       = 0x80000000

	// ExchgArgMask are the flags a client may send.
	ExchgArgMask = 0x40070107

	StateProtectNone = 0
	StateProtectMach = 1
	StateProtectSSV  = 2
)

// CREATE_SESSION flags and the directions of BIND_CONN_TO_SESSION.
const (
	SessionPersist  = 1
	SessionBackChan = 2
	SessionRDMA     = 4

	ChanFore       = 1
	ChanBack       = 2
	ChanForeOrBoth = 3
	ChanBackOrBoth = 7
	ChanBoth       = 3
)

// SEQUENCE status flags that this server may send (RFC 8881 §18.46.3).
const (
	SeqCBPathDown           = 0x1
	SeqExpiredSomeRevoked   = 0x10
	SeqRecallableRevoked    = 0x40
	SeqCBPathDownSession    = 0x200
	SeqRestartReclaimNeeded = 0x100
)

// SECINFO: authentication flavours (RFC 5531 §8.2) and SECINFO_NO_NAME styles.
const (
	AuthNone = 0
	AuthSys  = 1
	AuthTLS  = 7 // RFC 9289
	AuthGSS  = 6

	SecInfoCurrentFH = 0
	SecInfoParent    = 1
)

// settime4.
const (
	SetToServerTime = 0
	SetToClientTime = 1
)

// nfs_ftype4.
const (
	TypeReg  = 1
	TypeDir  = 2
	TypeBlk  = 3
	TypeChr  = 4
	TypeLnk  = 5
	TypeSock = 6
	TypeFifo = 7
)

// NFSv4.2: data_content4 of SEEK, setxattr_option4, netloc_type4,
// change_attr_type4 (RFC 7862 §4, §12.2, §15.11; RFC 8276 §8.4.2).
const (
	ContentData = 0
	ContentHole = 1

	XattrEither  = 0
	XattrCreate  = 1
	XattrReplace = 2

	NetLocName = 1
	NetLocURL  = 2
	NetLocAddr = 3

	ChangeMonotonic = 0
	ChangeUndefined = 4
)

// Callbacks (RFC 8881 §20): the version and procedure of the client's program,
// and the operations that this server sends.
const (
	CallbackVersion  = 1
	CallbackCompound = 1

	OpCBGetAttr    = 3
	OpCBRecall     = 4
	OpCBSequence   = 11
	OpCBNotifyLock = 13
)

// The client's wishes about a delegation in OPEN (RFC 8881 §18.16.1).
const (
	WantNoPreference = 0x0000
	WantReadDeleg    = 0x0100
	WantWriteDeleg   = 0x0200
	WantAnyDeleg     = 0x0300
	WantNoDeleg      = 0x0400
	WantCancel       = 0x0500
)

// LimitSize is the nfs_limit_by4 of a write delegation.
const LimitSize = 1
