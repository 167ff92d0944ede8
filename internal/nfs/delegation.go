package nfs

import (
	"context"
	"time"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfs/state"
	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

const (
	// recallWait is how long a request waits for delegations in its way; after
	// that the client is told to come again. A client on a local network
	// returns one within milliseconds.
	recallWait = 100 * time.Millisecond
	// maxInsist bounds how often a request is tried again after what stood in
	// its way has gone.
	maxInsist = 3
)

// insist tries something that state of other clients may stand in the way of:
// of clients whose lease is over, which then goes, or delegations, which are
// recalled.
func (c *compound) insist(try func() xdr.Status) xdr.Status {
	for n := 0; ; n++ {
		st := try()
		if st != xdr.ErrDelay || n == maxInsist || !c.s.clear(c.ctx, c.cur.file()) {
			return st
		}
	}
}

// clear removes what stands in the way of a request for a file. It returns
// false if it is still there, or if there was nothing.
func (s *Server) clear(ctx context.Context, f state.File) bool {
	some := s.table.Lapsed()
	if some {
		now := s.cfg.Clock()
		s.revoke(ctx, now)
		s.expire(ctx, now)
	}
	s.sendRecalls(s.table.TakeRecalls())
	timeout := time.NewTimer(recallWait)
	defer timeout.Stop()
	for _, returned := range s.table.Waiting(f) {
		some = true
		select {
		case <-returned:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return some
}

// sendRecalls sends recalls, each by itself: a client that does not answer
// must not keep others waiting. What fails is sent again by Tick.
func (s *Server) sendRecalls(list []state.Recall) {
	for _, r := range list {
		go func() {
			err := s.recall(r)
			if err != nil {
				s.log.Debug("nfs delegation not recalled yet", "export", r.File.FS, "ino", r.File.Ino, "clientid", r.ClientID, "err", err)
			}
			s.table.Recalled(r.StateID, err == nil)
		}()
	}
}

// recall is CB_RECALL (RFC 8881 §20.2). It ends with the connection or after
// callbackTimeout.
func (s *Server) recall(r state.Recall) error {
	h, ok := s.handleOf(r.File)
	if !ok {
		return fs.ErrStale
	}
	return s.back.call(context.Background(), r.ClientID, xdr.OpCBRecall, func(w *xdr.Writer) {
		w.StateID(r.StateID)
		w.Bool(false) // the file will not be truncated, as far as is known
		w.Opaque(h)
	}, nil)
}

func (s *Server) handleOf(f state.File) ([]byte, bool) {
	x := s.servedAs(f.FS).current()
	if x == nil {
		return nil, false
	}
	return fileHandle(x.Lineage(), f.Ino), true
}

// revoke takes delegations from clients that did not return them within a
// lease, and recalls again those that could not be recalled. The reclaim
// record goes first: see state.Revocation.
func (s *Server) revoke(ctx context.Context, now time.Time) {
	s.sendRecalls(s.table.TakeRecalls())
	due, again := s.table.RevokeDue(now)
	s.sendRecalls(again)
	for _, d := range due {
		if !s.forget(ctx, []state.Record{d.Record}) {
			continue
		}
		s.log.Warn("nfs delegation revoked: the client did not return it", "export", d.Record.FS, "owner", d.Record.Owner, "clientid", d.ClientID)
		s.carryOut(ctx, s.table.Revoke(d.StateID))
	}
}

// alone makes sure that no other client has a delegation of files whose
// attributes or names the current operation is about to change, and that none
// is granted until it is done. find, if not nil, tells one more file: it is
// asked only if there are delegations at all.
func (c *compound) alone(find func() (fs.Ino, bool), inos ...fs.Ino) xdr.Status {
	name := c.cur.export.Name
	delegs := c.s.table.BeginChange(name)
	c.guards = append(c.guards, name)
	if !delegs {
		return xdr.OK
	}
	if find != nil {
		if ino, ok := find(); ok {
			inos = append(inos, ino)
		}
	}
	for _, ino := range inos {
		if st := c.undelegated(ino, true); st != xdr.OK {
			return st
		}
	}
	return xdr.OK
}

// undelegated recalls the delegations of others that forbid changing a file,
// or only reading it.
func (c *compound) undelegated(ino fs.Ino, change bool) xdr.Status {
	cur := c.cur
	c.cur = c.at(ino)
	defer func() { c.cur = cur }()
	return c.insist(func() xdr.Status {
		return c.s.table.Conflict(c.client, c.cur.file(), change, c.s.cfg.Clock())
	})
}

// endChanges undoes what alone has begun.
func (c *compound) endChanges() {
	for _, name := range c.guards {
		c.s.table.EndChange(name)
	}
	c.guards = c.guards[:0]
}

// found looks a name up for alone.
func (c *compound) found(dir fs.Ino, name fs.Name) func() (fs.Ino, bool) {
	return func() (fs.Ino, bool) {
		cred := c.cred()
		a, err := c.cur.export.FS.Lookup(&cred, dir, name)
		return a.Ino, err == nil
	}
}

// delegate grants a delegation of the file that was just opened, if the client
// can be asked to return it. For reading it is given without a wish, for
// writing only to who wants it: Linux does not. If none is given, why tells the
// reason to a client that has a wish.
func (c *compound) delegate(a *openArgs) (kind uint32, id xdr.StateID, why uint32) {
	wish := a.want & xdr.ShareWantMask
	reclaim := a.claim == xdr.ClaimPrevious && a.had != xdr.DelegateNone
	// One for writing needs an open for writing: only that was permitted.
	write := (wish == xdr.WantWriteDeleg || a.had == xdr.DelegateWrite) && a.access&xdr.ShareWrite != 0
	x := c.cur.export.FS
	switch {
	case c.confined():
		return xdr.DelegateNone, id, xdr.WhyNoDelegResource // a recall names a handle, and here others are in use
	case wish == xdr.WantNoDeleg:
		return xdr.DelegateNone, id, xdr.WhyNoDelegNotWanted
	case wish == xdr.WantCancel:
		return xdr.DelegateNone, id, xdr.WhyNoDelegCanceled
	case !c.dialect.sessions || !reclaim && a.claim != xdr.ClaimNull && a.claim != xdr.ClaimFH:
		return xdr.DelegateNone, id, xdr.WhyNoDelegResource
	case a.access&xdr.ShareWrite != 0 && !write && !reclaim || reclaim && a.had == xdr.DelegateWrite && !write || c.readOnly() || len(c.s.back.of(c.client)) == 0:
		return xdr.DelegateNone, id, xdr.WhyNoDelegResource
	}
	x.Hold(c.cur.ino)
	attr, err := x.GetAttr(c.cur.ino)
	ok := err == nil
	if ok {
		id, why, ok = c.s.table.Delegate(state.DelegArgs{
			ClientID: c.client, File: c.cur.file(), Write: write, Change: attr.Change, Reclaim: reclaim, Now: c.s.cfg.Clock(),
		})
	}
	switch {
	case !ok:
		x.Release(c.cur.ino)
		return xdr.DelegateNone, id, why
	case write:
		return xdr.DelegateWrite, id, 0
	}
	return xdr.DelegateRead, id, 0
}

// putDelegation appends an open_delegation4 (RFC 8881 §18.16.2). There is no
// user to whom access is promised. One that was reclaimed is to be returned.
func (c *compound) putDelegation(a *openArgs) {
	kind, id, why := c.delegate(a)
	if kind == xdr.DelegateNone {
		c.putNoDelegation(a.want, why)
		return
	}
	c.w.Uint32(kind)
	c.w.StateID(id)
	c.w.Bool(a.claim == xdr.ClaimPrevious)
	if kind == xdr.DelegateWrite {
		c.w.Uint32(xdr.LimitSize)
		c.w.Uint64(fs.MaxFileSize)
	}
	for range 3 {
		c.w.Uint32(0) // ACE: type, flags, mask
	}
	c.w.String("")
}

// opDelegReturn is RFC 8881 §18.6.
func opDelegReturn(c *compound) xdr.Status {
	id := c.resolve(c.args.StateID())
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	if st := c.needFile(); st != xdr.OK {
		return st
	}
	eff, st := c.s.table.DelegReturn(c.client, id, c.cur.file())
	c.s.carryOut(c.ctx, eff)
	return st
}

// opDelegPurge: no delegation outlives its client (RFC 8881 §18.5).
func opDelegPurge(c *compound) xdr.Status {
	c.args.Uint64()
	if c.args.Bad() {
		return xdr.ErrBadXDR
	}
	return xdr.ErrNotSupp
}

// delegated are the attributes that the holder of a write delegation may have
// changed.
var delegated = xdr.Bits(xdr.AttrChange, xdr.AttrSize, xdr.AttrTimeModify, xdr.AttrTimeMetadata)

// askWriter corrects attributes by what the holder of a write delegation says
// (RFC 8881 §10.4.3). If it does not answer, the delegation is recalled.
func (c *compound) askWriter(want xdr.Bitmap, a *xdr.Attrs) xdr.Status {
	if c.cur.kind != fileObject || want.And(delegated).IsZero() {
		return xdr.OK
	}
	r, change, ok := c.s.table.Writer(c.client, c.cur.file())
	if !ok {
		return xdr.OK
	}
	var got xdr.Attrs
	err := c.s.back.call(c.ctx, r.ClientID, xdr.OpCBGetAttr, func(w *xdr.Writer) {
		w.Opaque(fileHandle(c.cur.export.FS.Lineage(), c.cur.ino)) // its holder has no access point: see delegate
		w.Bitmap(xdr.Bits(xdr.AttrChange, xdr.AttrSize))
	}, func(r *xdr.Reader) { _ = r.Attrs(&got) })
	if err != nil || !got.Mask.Has(xdr.AttrChange) || !got.Mask.Has(xdr.AttrSize) {
		return c.undelegated(c.cur.ino, false)
	}
	if got.Change != change {
		a.Size = got.Size
		a.Change = max(a.Change, change) + 1
		a.TimeModify = xdr.Time(fs.TimeOf(c.s.cfg.Clock()))
		a.TimeMetadata = a.TimeModify
	}
	return xdr.OK
}
