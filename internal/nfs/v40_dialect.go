package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// operations40 are those of minor version 0 that do more than refuse. Most are
// those of minor version 1.
var operations40 = map[xdr.Op]opFunc{
	xdr.OpSetClientID: opSetClientID, xdr.OpSetClientIDConfirm: opSetClientIDConfirm, xdr.OpRenew: opRenew,
	xdr.OpReleaseLockOwner: opReleaseLockOwner,

	xdr.OpPutFH: opPutFH, xdr.OpPutRootFH: opPutRootFH, xdr.OpPutPubFH: opPutRootFH, xdr.OpGetFH: opGetFH,
	xdr.OpSaveFH: opSaveFH, xdr.OpRestoreFH: opRestoreFH,
	xdr.OpLookup: opLookup, xdr.OpLookupP: opLookupP, xdr.OpSecInfo: opSecInfo,

	xdr.OpAccess: opAccess, xdr.OpGetAttr: opGetAttr, xdr.OpSetAttr: opSetAttr,
	xdr.OpVerify: opVerify, xdr.OpNVerify: opNVerify,
	xdr.OpRead: opRead, xdr.OpWrite: opWrite, xdr.OpCommit: opCommit,
	xdr.OpReadDir: opReadDir, xdr.OpReadlink: opReadlink,
	xdr.OpCreate: opCreate, xdr.OpLink: opLink, xdr.OpRemove: opRemove, xdr.OpRename: opRename,

	xdr.OpOpen: opOpen40, xdr.OpOpenConfirm: opOpenConfirm, xdr.OpOpenDowngrade: opOpenDowngrade40, xdr.OpClose: opClose40,
	xdr.OpLock: opLock40, xdr.OpLockT: opLockT40, xdr.OpLockU: opLockU40,
	xdr.OpDelegPurge: opDelegPurge, xdr.OpDelegReturn: opDelegReturn,
}

// statuses40 replaces the statuses that minor version 1 has brought (RFC 7530
// §13 and RFC 8881 §15).
var statuses40 = map[xdr.Status]xdr.Status{
	xdr.ErrWrongType: xdr.ErrInval, xdr.ErrTooManyOps: xdr.ErrResource,
	xdr.ErrReqTooBig: xdr.ErrResource, xdr.ErrRepTooBig: xdr.ErrResource,
}
