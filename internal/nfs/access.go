package nfs

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

// Access says by which access points clients come in and what they may do. A
// region implements it. All methods may be called concurrently.
type Access interface {
	// AccessPoint finds an access point of an export; an error says why nobody
	// comes in by it.
	AccessPoint(export, id string) (*AccessPoint, error)
	// Rights tells what a client may do on an export now. It is asked for every
	// COMPOUND, so that a change is in force at once, and must be quick.
	Rights(export string, c Caller) Rights
	// Throughput is the limit of an export in bytes per second, 0 for none. It
	// is asked for every transfer.
	Throughput(export string) float64
}

// AccessPoint is a way into an export. It is never changed.
type AccessPoint struct {
	ID string
	// User is who asks, whatever the client says; nil: whom it names.
	User *fs.Cred
	// Path is the directory that is its root: "/", or up to four names.
	Path string
	// Create says how the root is made when it is missing; nil: not at all.
	Create *fs.AttrChange
	// Secret seals the file handles: see confine.go. It is that of the file
	// system, in every region.
	Secret []byte
}

// confined tells that the access point shows a part of the file system only.
func (p *AccessPoint) confined() bool { return p != nil && p.Path != "/" }

// Caller is a client as far as its rights depend on it.
type Caller struct {
	Principal   string // ARN of who signed; "" for nobody
	AccessPoint string // id; "" for none
	Secure      bool   // by TLS
	Remote      netip.Addr
	// MountTarget: by the address of a mount target, not by the shared one.
	MountTarget bool
}

// Rights is what a client may do on a file system.
type Rights struct {
	Mount bool // be there and read
	Write bool // change something
	Root  bool // be root; else root is nobody
}

// Security is how listeners speak TLS. A region implements it.
type Security interface {
	// TLS is the configuration for a connection to a listener at an address. It
	// asks for a certificate of the client and does not check it.
	TLS(root Root, local net.Addr) (*tls.Config, error)
	// Identify tells what the certificate of a client says, for a listener. An
	// error refuses the client.
	Identify(root Root, leaf *x509.Certificate) (Identity, error)
}

// Identity is what a client's certificate says. The zero value is that of a
// client without one.
type Identity struct {
	FileSystem  string // export; "" leaves the listener's root
	AccessPoint string // id; "" for none
	Principal   string // ARN of who signed; "" for nobody
}
