package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// dialect is what differs between the minor versions.
type dialect struct {
	minor      uint32
	operations map[xdr.Op]opFunc
	last       xdr.Op     // the highest operation number; others are illegal
	sessions   bool       // clients are known by their sessions, there is a current stateid
	attrs      xdr.Bitmap // those that the minor version has
	exchange   uint32     // the flags of EXCHANGE_ID that a client may send
	// nothingSaved is what RESTOREFH answers if there is nothing to restore.
	nothingSaved xdr.Status
	// statuses replaces those that the minor version does not have.
	statuses map[xdr.Status]xdr.Status
}

// dialects are the minor versions that are served.
var dialects = [...]*dialect{
	0: {
		operations: operations40, last: xdr.OpReleaseLockOwner, attrs: upTo(xdr.AttrMountedOnFileID), statuses: statuses40,
		nothingSaved: xdr.ErrRestoreFH,
	},
	1: {
		minor: 1, operations: operations, last: xdr.OpReclaimComplete, sessions: true, attrs: upTo(xdr.AttrFSCharsetCap).Or(rfc9754),
		exchange: xdr.ExchgArgMask &^ xdr.ExchgSuppFenceOps, nothingSaved: xdr.ErrNoFileHandle,
	},
	2: { // and RFC 8276
		minor: 2, operations: operations, last: xdr.OpRemoveXattr, sessions: true, attrs: upTo(xdr.AttrXattrSupport).Or(rfc9754),
		exchange: xdr.ExchgArgMask, nothingSaved: xdr.ErrNoFileHandle,
	},
}

// rfc9754 extends minor version 2. A client of minor version 1 may ask as well.
var rfc9754 = xdr.Bits(xdr.AttrOpenArguments)

// upTo is the set of all attributes up to a number.
func upTo(last int) (b xdr.Bitmap) {
	for n := range last + 1 {
		b.Set(n)
	}
	return b
}

func (d *dialect) status(st xdr.Status) xdr.Status {
	if other, ok := d.statuses[st]; ok {
		return other
	}
	return st
}
