package nfs

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// openDelegated is a create by the holder of a delegation, of which there is a
// file then: nothing is made.
func (c *compound) openDelegated(a *openArgs, o object) (opened, xdr.Status) {
	there, err := o.export.FS.GetAttr(o.ino)
	if err != nil {
		return opened{}, c.status(err)
	}
	found, st := c.openExisting(a, &there)
	found.made = false // it is the delegation that gives the right
	return found, st
}

// putNoDelegation tells that there is no delegation, and why if the client had
// a wish (RFC 8881 §18.16.3).
func (c *compound) putNoDelegation(want, why uint32) {
	if want&xdr.ShareWantMask == 0 {
		c.w.Uint32(xdr.DelegateNone)
		return
	}
	c.w.Uint32(xdr.DelegateNoneExt)
	c.w.Uint32(why)
	if why == xdr.WhyNoDelegResource || why == xdr.WhyNoDelegContention {
		c.w.Bool(false) // nor will the client be told when there is one
	}
}
