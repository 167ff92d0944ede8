package nfs

import (
	"errors"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// openArgs are those of OPEN (RFC 8881 §18.16.1).
type openArgs struct {
	access, deny uint32
	want         uint32 // about delegations
	seqid        uint32 // of the owner, in minor version 0
	client       uint64 // in minor version 0
	owner        []byte

	create   bool
	mode     uint32 // createmode4
	attrs    fs.AttrChange
	mask     xdr.Bitmap
	verifier xdr.Verifier

	claim uint32
	deleg xdr.StateID // of the claims that name one
	had   uint32      // the kind of delegation that is reclaimed
	name  fs.Name
}

// readOpen reads and checks the arguments.
func (c *compound) readOpen() (*openArgs, xdr.Status) {
	a := &openArgs{seqid: c.args.Uint32(), access: c.args.Uint32(), deny: c.args.Uint32()}
	a.client = c.args.Uint64() // means nothing in a session
	a.owner = c.args.Opaque(xdr.OpaqueLimit)
	switch c.args.Uint32() {
	case xdr.OpenNoCreate:
	case xdr.OpenCreate:
		a.create = true
		if st := c.readHow(a); st != xdr.OK {
			return nil, st
		}
	default:
		c.args.Fail()
	}
	a.claim = c.args.Uint32()
	if a.claim > xdr.ClaimDelegatePrev && !c.dialect.sessions {
		c.args.Fail()
	}
	switch a.claim {
	case xdr.ClaimNull, xdr.ClaimDelegatePrev:
		a.name = c.name()
	case xdr.ClaimPrevious:
		a.had = c.args.Uint32()
		if a.had > xdr.DelegateWrite {
			c.args.Fail()
		}
	case xdr.ClaimDelegateCur:
		a.deleg = c.resolve(c.args.StateID())
		a.name = c.name()
	case xdr.ClaimDelegCurFH:
		a.deleg = c.resolve(c.args.StateID())
	case xdr.ClaimFH, xdr.ClaimDelegPrevFH:
	default:
		c.args.Fail()
	}
	if c.args.Bad() {
		return nil, xdr.ErrBadXDR
	}
	if c.dialect.sessions {
		a.want = a.access & (xdr.ShareWantMask | xdr.ShareWhenMask)
		a.access &^= a.want
	}
	if a.access == 0 || a.access > xdr.ShareBoth || a.deny > xdr.DenyBoth || a.create && !namesFile[a.claim] {
		return nil, xdr.ErrInval
	}
	return a, xdr.OK
}

// namesFile are the claims with a name: only by them a file can be made.
var namesFile = map[uint32]bool{xdr.ClaimNull: true, xdr.ClaimDelegateCur: true, xdr.ClaimDelegatePrev: true}

// readHow reads createhow4.
func (c *compound) readHow(a *openArgs) (st xdr.Status) {
	a.mode = c.args.Uint32()
	if a.mode == xdr.CreateExclusive41 && !c.dialect.sessions {
		return xdr.ErrBadXDR
	}
	switch a.mode {
	case xdr.CreateUnchecked, xdr.CreateGuarded:
		a.attrs, a.mask, st = c.settable()
	case xdr.CreateExclusive:
		a.verifier = c.args.Verifier()
	case xdr.CreateExclusive41:
		a.verifier = c.args.Verifier()
		a.attrs, a.mask, st = c.settable()
	default:
		return xdr.ErrBadXDR
	}
	return st
}

// opOpen is RFC 8881 §18.16.
func opOpen(c *compound) xdr.Status {
	a, st := c.readOpen()
	if st != xdr.OK {
		return st
	}
	if c.cur.kind == pseudoRoot && a.claim == xdr.ClaimNull && !a.create {
		return c.openInPseudo(a)
	}
	if st := c.ready(); st != xdr.OK {
		return st
	}
	if st := c.mayOpen(a); st != xdr.OK {
		return st
	}
	found, st := c.openTarget(a)
	if st != xdr.OK {
		return st
	}
	id, st := c.grant(a, found)
	if st != xdr.OK {
		return st
	}
	c.move(c.at(found.ino))
	c.curState = id
	c.w.StateID(id)
	c.putChange(found.dir)
	c.w.Uint32(c.openFlags())
	c.w.Bitmap(found.mask)
	c.putDelegation(a)
	return xdr.OK
}

// openFlags are the flags of an OPEN's result. A client with a back channel is
// told when it can have a lock that it waits for.
func (c *compound) openFlags() uint32 {
	switch {
	case c.dialect.sessions && c.s.back.has(c.ticket.Session):
		return xdr.OpenResultLockPOSIX | xdr.OpenResultPreserveUnlinked | xdr.OpenResultMayNotifyLock
	case c.dialect.sessions:
		return xdr.OpenResultLockPOSIX | xdr.OpenResultPreserveUnlinked
	case c.turn.Confirm:
		return xdr.OpenResultLockPOSIX | xdr.OpenResultConfirm
	}
	return xdr.OpenResultLockPOSIX
}

// openInPseudo answers an OPEN of an entry of the pseudo root: all are
// directories.
func (c *compound) openInPseudo(a *openArgs) xdr.Status {
	if _, st := c.lookup(a.name); st != xdr.OK {
		return st
	}
	return xdr.ErrIsDir
}

// mayOpen checks what does not depend on the file: the claim, grace, and that
// the client's reclaim record is durable before anything is granted.
func (c *compound) mayOpen(a *openArgs) xdr.Status {
	switch a.claim {
	case xdr.ClaimNull, xdr.ClaimFH, xdr.ClaimPrevious, xdr.ClaimDelegateCur, xdr.ClaimDelegCurFH:
	default:
		return xdr.ErrNotSupp
	}
	if a.access&xdr.ShareWrite != 0 && !c.cur.export.rights.Write {
		return xdr.ErrROFS
	}
	if a.access&xdr.ShareWrite != 0 && c.cur.export.FS.ReadOnly() {
		if a.claim == xdr.ClaimPrevious {
			// It had the file open where the data is written, and arrives here
			// as its address has moved ahead of the failover: it waits for that.
			// Any other answer would lose what it has open.
			return xdr.ErrDelay
		}
		return xdr.ErrROFS
	}
	if a.claim == xdr.ClaimDelegateCur || a.claim == xdr.ClaimDelegCurFH {
		// In grace, too: nobody can reclaim what conflicts with a delegation
		// that is held now. Whether it is held is looked at with the file.
		return c.mayHave(false, true)
	}
	return c.mayHave(a.claim == xdr.ClaimPrevious, false)
}

// opened is what an OPEN found or made.
type opened struct {
	ino  fs.Ino
	made bool // by this request, or by an earlier try of it
	dir  fs.ChangeInfo
	mask xdr.Bitmap // attributes that were set
}

// openTarget finds or makes the file.
func (c *compound) openTarget(a *openArgs) (opened, xdr.Status) {
	if a.claim != xdr.ClaimNull && a.claim != xdr.ClaimDelegateCur {
		return opened{ino: c.cur.ino}, xdr.OK
	}
	if a.create && a.claim == xdr.ClaimNull && !c.readOnly() {
		return c.openCreate(a)
	}
	d, err := c.cur.export.FS.GetAttr(c.cur.ino)
	if err != nil {
		return opened{}, c.status(err)
	}
	o, st := c.lookup(a.name)
	switch {
	case st == xdr.ErrNoEnt && a.create && a.claim == xdr.ClaimNull:
		return opened{}, xdr.ErrROFS
	case st != xdr.OK:
		return opened{}, st
	case a.create && a.claim == xdr.ClaimDelegateCur:
		return c.openDelegated(a, o)
	case a.create && a.mode != xdr.CreateUnchecked:
		return opened{}, xdr.ErrExist
	}
	return opened{ino: o.ino, dir: fs.ChangeInfo{Before: d.Change, After: d.Change}}, xdr.OK
}

// openCreate makes the file, or finds it where the mode allows that.
func (c *compound) openCreate(a *openArgs) (opened, xdr.Status) {
	q := fs.CreateRequest{
		Cred: c.cred(), Parent: c.cur.ino, Name: a.name, Type: fs.TypeRegular, Attrs: a.attrs, Verifier: a.verifier,
	}
	res, err := c.cur.export.FS.Create(c.ctx, &q)
	if errors.Is(err, fs.ErrExist) {
		c.foundAt(res.Attr.Ino, res.Attr.Type, c.cur.ino, a.name)
		return c.openExisting(a, &res.Attr)
	}
	if err != nil {
		return opened{}, c.notDir(c.status(err))
	}
	c.foundAt(res.Attr.Ino, fs.TypeRegular, c.cur.ino, a.name)
	c.changed(res.Seq)
	found := opened{ino: res.Attr.Ino, made: true, dir: res.Parent, mask: a.mask}
	if a.attrs.Size == nil || *a.attrs.Size == 0 {
		return found, xdr.OK
	}
	sized, err := c.cur.export.FS.SetAttr(c.ctx, &fs.SetAttrRequest{
		Cred: q.Cred, Ino: found.ino, Set: fs.AttrChange{Size: a.attrs.Size}, Opened: true,
	})
	if err != nil {
		return opened{}, c.status(err)
	}
	c.changed(sized.Seq)
	return found, xdr.OK
}

// openExisting decides what a create does that finds its name in use.
func (c *compound) openExisting(a *openArgs, there *fs.Attr) (opened, xdr.Status) {
	found := opened{ino: there.Ino}
	switch {
	case a.mode == xdr.CreateUnchecked:
		if a.attrs.Size != nil && *a.attrs.Size == 0 { // others are ignored (RFC 8881 §18.16.3)
			found.mask = xdr.Bits(xdr.AttrSize)
		}
	case a.mode != xdr.CreateGuarded && a.verifier != xdr.Verifier{} && there.Verifier == a.verifier:
		found.made = true // the reply to the first try was lost
	default:
		return found, xdr.ErrExist
	}
	if d, err := c.cur.export.FS.GetAttr(c.cur.ino); err == nil {
		found.dir = fs.ChangeInfo{Before: d.Change, After: d.Change}
	}
	return found, xdr.OK
}

// grant checks permission and share reservations and makes the open. The inode
// is held from before it is looked at, so that it cannot go in between.
func (c *compound) grant(a *openArgs, found opened) (id xdr.StateID, st xdr.Status) {
	x := c.cur.export.FS
	dir := c.cur
	c.cur = c.at(found.ino)
	defer func() { c.cur = dir }()
	x.Hold(found.ino)
	keep := false
	defer func() {
		if !keep {
			x.Release(found.ino)
		}
	}()
	if st := c.regular(); st != xdr.OK {
		return id, st
	}
	if st := c.entitled(a, found); st != xdr.OK {
		return id, st
	}
	var again bool
	st = c.insist(func() (st xdr.Status) {
		id, again, st = c.s.table.Open(state.OpenArgs{
			ClientID: c.client, Owner: a.owner, File: c.cur.file(),
			Access: a.access, Deny: a.deny, Reclaim: a.claim == xdr.ClaimPrevious, Principal: c.principal(),
			Truncate: !found.made && found.mask.Has(xdr.AttrSize), Now: c.s.cfg.Clock(),
		})
		return st
	})
	if st != xdr.OK {
		return id, st
	}
	keep = !again
	if !found.made && found.mask.Has(xdr.AttrSize) {
		if st := c.truncate(a); st != xdr.OK {
			if !again {
				keep = false
				c.s.table.Close(c.client, id, c.cur.file())
			}
			return id, st
		}
	}
	return id, xdr.OK
}

// entitled checks what gives the right to open: permission, or that it was
// open before the server restarted, or a delegation. Nothing tells what was
// open, so a client that is not trusted to say who asks needs permission then,
// too: or it could open in grace whatever it has a handle of.
func (c *compound) entitled(a *openArgs, found opened) xdr.Status {
	switch {
	case found.made || a.claim == xdr.ClaimPrevious && !c.squashed() && !c.identified():
		// What was open is given back although it could not be opened now. Not
		// so to a root that is squashed: nothing tells what it had open, and by
		// this claim it could open whatever it likes as long as grace lasts.
		return xdr.OK
	case a.claim == xdr.ClaimDelegateCur || a.claim == xdr.ClaimDelegCurFH:
		if st := c.s.table.CheckDeleg(c.client, a.deleg, c.cur.file(), a.access); st != xdr.OK {
			return st
		}
	}
	return c.permitted(a.access)
}

// truncate sets the size that an UNCHECKED4 create of an existing file asks for.
func (c *compound) truncate(a *openArgs) xdr.Status {
	res, err := c.cur.export.FS.SetAttr(c.ctx, &fs.SetAttrRequest{
		Cred: c.cred(), Ino: c.cur.ino, Set: fs.AttrChange{Size: a.attrs.Size}, Opened: a.access&xdr.ShareWrite != 0,
	})
	if err != nil {
		return c.status(err)
	}
	c.changed(res.Seq)
	return xdr.OK
}
