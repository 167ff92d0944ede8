package oncrpc

import (
	"fmt"
	"net"

	"github.com/holdfast-fs/holdfast/internal/nfs/xdr"
)

// Call is the header of an RPC call.
type Call struct {
	XID     uint32
	Program uint32
	Version uint32
	Proc    uint32
	// Flavor is xdr.AuthNone or xdr.AuthSys; Sys is nil with AUTH_NONE.
	Flavor uint32
	Sys    *SysCred
	// Remote is where the call came from; nil if that is not known.
	Remote net.Addr
	Conn   *Conn // which it came by
}

// AcceptStat is the accept_stat of a reply to an accepted call.
type AcceptStat uint32

// The accept_stats.
const (
	Success      AcceptStat = 0
	ProgUnavail  AcceptStat = 1
	ProgMismatch AcceptStat = 2
	ProcUnavail  AcceptStat = 3
	GarbageArgs  AcceptStat = 4
	SystemErr    AcceptStat = 5
)

func (s AcceptStat) Error() string {
	names := [...]string{"success", "program unavailable", "program version mismatch", "procedure unavailable", "garbage arguments", "system error"}
	if int(s) < len(names) {
		return "rpc: " + names[s]
	}
	return fmt.Sprintf("rpc: accept_stat %d", uint32(s))
}

const (
	msgCall  = 0
	msgReply = 1

	replyAccepted = 0
	replyDenied   = 1

	rejectVersion = 0
	rejectAuth    = 1

	rpcVersion = 2
)

// Reasons of a denied call (auth_stat).
const (
	authBadCred = 1
	authTooWeak = 5
)

// denied is why a call cannot be accepted.
type denied struct {
	reject uint32 // reject_stat
	auth   uint32 // auth_stat
}

func (d *denied) Error() string {
	if d.reject == rejectVersion {
		return "rpc: version mismatch"
	}
	return fmt.Sprintf("rpc: authentication refused (auth_stat %d)", d.auth)
}

// parseCall reads a call header. A *denied error is to be answered; after any
// other error the bytes are not RPC and the connection must end.
func parseCall(r *xdr.Reader) (*Call, error) {
	c := &Call{XID: r.Uint32()}
	kind := r.Uint32()
	version := r.Uint32()
	if r.Bad() || kind != msgCall {
		return nil, xdr.ErrBadXDR
	}
	if version != rpcVersion {
		return c, &denied{reject: rejectVersion}
	}
	c.Program, c.Version, c.Proc = r.Uint32(), r.Uint32(), r.Uint32()
	c.Flavor = r.Uint32()
	body := r.Opaque(maxAuthBody)
	r.Uint32() // the verifier means nothing with these flavours
	r.Opaque(maxAuthBody)
	if r.Bad() {
		return c, &denied{reject: rejectAuth, auth: authBadCred}
	}
	switch c.Flavor {
	case xdr.AuthNone:
	case xdr.AuthTLS: // only as the first call of a connection: see greet
		return c, &denied{reject: rejectAuth, auth: authBadCred}
	case xdr.AuthSys:
		var ok bool
		if c.Sys, ok = parseSys(body); !ok {
			return c, &denied{reject: rejectAuth, auth: authBadCred}
		}
	default:
		return c, &denied{reject: rejectAuth, auth: authTooWeak}
	}
	return c, nil
}

// putAccepted appends the header of an accepted reply; results follow Success.
func putAccepted(w *xdr.Writer, xid uint32, s AcceptStat) {
	for _, v := range [...]uint32{xid, msgReply, replyAccepted, xdr.AuthNone, 0, uint32(s)} {
		w.Uint32(v)
	}
}

func putDenied(w *xdr.Writer, xid uint32, d *denied) {
	w.Uint32(xid)
	w.Uint32(msgReply)
	w.Uint32(replyDenied)
	w.Uint32(d.reject)
	if d.reject == rejectVersion {
		w.Uint32(rpcVersion)
		w.Uint32(rpcVersion)
		return
	}
	w.Uint32(d.auth)
}

// AppendCall appends a call header with AUTH_SYS, or AUTH_NONE if sys is nil.
// The arguments follow. It is for clients.
func AppendCall(w *xdr.Writer, xid, program, version, proc uint32, sys *SysCred) {
	for _, v := range [...]uint32{xid, msgCall, rpcVersion, program, version, proc} {
		w.Uint32(v)
	}
	if sys == nil {
		w.Uint64(0)
	} else {
		putSys(w, sys)
	}
	w.Uint64(0) // verifier: AUTH_NONE, empty
}

// ParseReply reads a reply header and leaves r at the results. An error after
// a whole header is an AcceptStat, or says why the call was denied. It is for
// clients.
func ParseReply(r *xdr.Reader) (xid uint32, err error) {
	xid = r.Uint32()
	kind, stat := r.Uint32(), r.Uint32()
	if r.Bad() || kind != msgReply {
		return xid, xdr.ErrBadXDR
	}
	if stat == replyDenied {
		return xid, &denied{reject: r.Uint32(), auth: r.Uint32()}
	}
	r.Uint32()
	r.Opaque(maxAuthBody)
	accept := AcceptStat(r.Uint32())
	if r.Bad() {
		return xid, xdr.ErrBadXDR
	}
	if accept != Success {
		return xid, accept
	}
	return xid, nil
}
