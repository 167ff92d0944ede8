package oncrpc

import "github.com/holdfast-fs/holdfast/internal/nfs/xdr"

// Limits of RFC 5531 §8.2 and appendix A.
const (
	maxAuthBody    = 400 // bytes of an opaque_auth body
	maxMachineName = 255 // bytes
	// MaxGroups bounds the supplementary groups of AUTH_SYS.
	MaxGroups = 16
)

// SysCred is an AUTH_SYS credential.
type SysCred struct {
	Machine string
	UID     uint32
	GID     uint32
	Groups  []uint32
}

// parseSys reads the body of an AUTH_SYS credential.
func parseSys(body []byte) (*SysCred, bool) {
	r := xdr.NewReader(body)
	c := ReadSys(&r)
	return c, !r.Bad() && r.Remaining() == 0
}

// ReadSys reads an authsys_parms. It is not valid if the Reader is bad then.
func ReadSys(r *xdr.Reader) *SysCred {
	r.Uint32() // stamp: means nothing to a server
	c := &SysCred{Machine: r.String(maxMachineName), UID: r.Uint32(), GID: r.Uint32()}
	n := r.Count(4)
	if n > MaxGroups {
		r.Fail()
	}
	if r.Bad() {
		return nil
	}
	for range n {
		c.Groups = append(c.Groups, r.Uint32())
	}
	return c
}

func putSys(w *xdr.Writer, c *SysCred) {
	w.Uint32(xdr.AuthSys)
	length := w.Len()
	w.Uint32(0)
	w.Uint32(0)
	w.String(c.Machine)
	w.Uint32(c.UID)
	w.Uint32(c.GID)
	w.Uint32(uint32(len(c.Groups)))
	for _, g := range c.Groups {
		w.Uint32(g)
	}
	w.SetUint32(length, uint32(w.Len()-length-4))
}
