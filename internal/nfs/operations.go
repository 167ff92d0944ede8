package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// operations are those of minor versions 1 and 2 that do more than refuse. Known
// operations that are not here are answered with NFS4ERR_NOTSUPP.
var operations = map[xdr.Op]opFunc{
	xdr.OpExchangeID: opExchangeID, xdr.OpCreateSession: opCreateSession, xdr.OpDestroySession: opDestroySession,
	xdr.OpDestroyClientID: opDestroyClientID, xdr.OpSequence: opSequence, xdr.OpBindConnToSession: opBindConnToSession,
	xdr.OpBackchannelCtl: opBackchannelCtl, xdr.OpReclaimComplete: opReclaimComplete,
	xdr.OpTestStateID: opTestStateID, xdr.OpFreeStateID: opFreeStateID,

	xdr.OpPutFH: opPutFH, xdr.OpPutRootFH: opPutRootFH, xdr.OpPutPubFH: opPutRootFH, xdr.OpGetFH: opGetFH,
	xdr.OpSaveFH: opSaveFH, xdr.OpRestoreFH: opRestoreFH,
	xdr.OpLookup: opLookup, xdr.OpLookupP: opLookupP, xdr.OpSecInfo: opSecInfo, xdr.OpSecInfoNoName: opSecInfoNoName,

	xdr.OpAccess: opAccess, xdr.OpGetAttr: opGetAttr, xdr.OpSetAttr: opSetAttr,
	xdr.OpVerify: opVerify, xdr.OpNVerify: opNVerify,
	xdr.OpRead: opRead, xdr.OpWrite: opWrite, xdr.OpCommit: opCommit,
	xdr.OpReadDir: opReadDir, xdr.OpReadlink: opReadlink,
	xdr.OpCreate: opCreate, xdr.OpLink: opLink, xdr.OpRemove: opRemove, xdr.OpRename: opRename,

	xdr.OpOpen: opOpen, xdr.OpOpenDowngrade: opOpenDowngrade, xdr.OpClose: opClose,
	xdr.OpLock: opLock, xdr.OpLockT: opLockT, xdr.OpLockU: opLockU,
	xdr.OpDelegPurge: opDelegPurge, xdr.OpDelegReturn: opDelegReturn,

	xdr.OpSeek: opSeek, xdr.OpAllocate: opAllocate, xdr.OpDeallocate: opDeallocate, xdr.OpIOAdvise: opIOAdvise,
	xdr.OpCopy: opCopy, xdr.OpClone: opClone,
	xdr.OpGetXattr: opGetXattr, xdr.OpSetXattr: opSetXattr, xdr.OpListXattrs: opListXattrs, xdr.OpRemoveXattr: opRemoveXattr,
}
