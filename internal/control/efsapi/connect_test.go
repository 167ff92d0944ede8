package efsapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	mountFS     = "fs-0123456789abcdef0"
	mountPoint  = "fsap-0123456789abcdef0"
	mountKey    = "AKIAIOSFODNN7EXAMPLE"
	mountSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	mountARN    = "arn:aws:iam::123456789012:user/alice"
	mountToken  = "the/token+x=="
)

var mountTime = time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)

func newConnect() *Connect {
	return &Connect{Region: "us-east-1", Peers: []string{"eu-west-1"}, Now: func() time.Time { return mountTime.Add(time.Hour) }, Credentials: []Credential{
		{AccessKey: mountKey, SecretKey: mountSecret, Principal: mountARN},
		{AccessKey: "ASIA" + mountKey, SecretKey: mountSecret, SessionToken: mountToken, Principal: mountARN + "2"},
	}}
}

// mountCert is a client's certificate in the making.
type mountCert struct {
	key        *ecdsa.PrivateKey
	extensions []pkix.Extension
}

func newMountCert(t testing.TB) *mountCert {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &mountCert{key: key}
}

func (m *mountCert) add(t testing.TB, oid asn1.ObjectIdentifier, v any, params string) *mountCert {
	t.Helper()
	raw, err := asn1.MarshalWithParams(v, params)
	if err != nil {
		t.Fatal(err)
	}
	m.extensions = append(m.extensions, pkix.Extension{Id: oid, Value: raw})
	return m
}

func (m *mountCert) leaf(t testing.TB) *x509.Certificate {
	t.Helper()
	x := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: mountTime.AddDate(1, 0, 0), ExtraExtensions: m.extensions}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &m.key.PublicKey, m.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// sign adds a signature made with c's own code for a key: what is wrong with it
// the test says. That the code is right, the test with openssl shows.
func (m *mountCert) sign(t testing.TB, c *Connect, cred Credential, fileSystem string, at time.Time, token string) *mountCert {
	t.Helper()
	hash, err := publicKeyHash(m.leaf(t))
	if err != nil {
		t.Fatal(err)
	}
	a := clientAuth{AccessKey: cred.AccessKey, Time: at, Token: token}
	a.Signature = []byte(hex.EncodeToString(signature(&cred, c.Region, fileSystem, hash, &a, "")))
	return m.add(t, oidClientAuth, a, "")
}

func TestClientCertificates(t *testing.T) {
	c := newConnect()
	cred, temporary := c.Credentials[0], c.Credentials[1]
	stranger := cred
	stranger.SecretKey = "another secret"
	of := func(fileSystem string) *mountCert {
		return newMountCert(t).add(t, oidFileSystem, fileSystem, "utf8")
	}
	foreign := *c
	foreign.Region = "us-west-2"
	peer := *c
	peer.Region = "eu-west-1"
	for _, x := range []struct {
		what string
		cert *mountCert
		want MountIdentity
		bad  string
	}{
		{"nothing", newMountCert(t), MountIdentity{}, ""},
		{"a file system", of(mountFS), MountIdentity{FileSystem: mountFS}, ""},
		{"an access point", of(mountFS).add(t, oidAccessPoint, mountPoint, "utf8"), MountIdentity{FileSystem: mountFS, AccessPoint: mountPoint}, ""},
		{"a signature", of(mountFS).sign(t, c, cred, mountFS, mountTime, ""), MountIdentity{FileSystem: mountFS, Principal: mountARN, AccessKey: mountKey, Region: "us-east-1"}, ""},
		{"a signature with a token", of(mountFS).sign(t, c, temporary, mountFS, mountTime, mountToken), MountIdentity{FileSystem: mountFS, Principal: mountARN + "2", AccessKey: temporary.AccessKey, Region: "us-east-1"}, ""},
		{"a signature of yesterday", of(mountFS).sign(t, c, cred, mountFS, mountTime.Add(-23*time.Hour-time.Minute), ""), MountIdentity{}, "it holds for 24h"},
		{"a signature of the future", of(mountFS).sign(t, c, cred, mountFS, mountTime.Add(66*time.Minute), ""), MountIdentity{}, "set the clock"},
		{"a signature for another file system", of(mountFS).sign(t, c, cred, "fs-00000000000000000", mountTime, ""), MountIdentity{}, "not that of access key"},
		{"a signature for a peer region", of(mountFS).sign(t, &peer, cred, mountFS, mountTime, ""), MountIdentity{FileSystem: mountFS, Principal: mountARN, AccessKey: mountKey, Region: "eu-west-1"}, ""},
		{"a signature for another region", of(mountFS).sign(t, &foreign, cred, mountFS, mountTime, ""), MountIdentity{}, "not that of access key"},
		{"a signature with another secret", of(mountFS).sign(t, c, stranger, mountFS, mountTime, ""), MountIdentity{}, "not that of access key"},
		{"a token that is not the key's", of(mountFS).sign(t, c, cred, mountFS, mountTime, mountToken), MountIdentity{}, "session token"},
		{"no token with a key that needs one", of(mountFS).sign(t, c, temporary, mountFS, mountTime, ""), MountIdentity{}, "session token"},
		{"an unknown key", of(mountFS).sign(t, c, Credential{AccessKey: "AKIAUNKNOWN000000000"}, mountFS, mountTime, ""), MountIdentity{}, "not in the configuration"},
		{"a signature without a file system", newMountCert(t).sign(t, c, cred, mountFS, mountTime, ""), MountIdentity{}, "names no file system"},
		{"no id", of("fs-x"), MountIdentity{}, "no id"}, {"an empty id", of(""), MountIdentity{}, "empty"},
		{"an ARN", of("arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/" + mountFS), MountIdentity{}, "no id"},
		{"a number", newMountCert(t).add(t, oidAccessPoint, 7, ""), MountIdentity{}, "no UTF8String"},
		{"a signature that is a number", of(mountFS).add(t, oidClientAuth, 7, ""), MountIdentity{}, "cannot be read"},
		{"a signature that is not hex", of(mountFS).add(t, oidClientAuth, clientAuth{AccessKey: mountKey, Signature: []byte("xyz"), Time: mountTime}, ""), MountIdentity{}, "hex digits"},
	} {
		got, err := c.Identify(x.cert.leaf(t))
		if x.bad == "" && (err != nil || got != x.want) {
			t.Errorf("%s: %+v, %v", x.what, got, err)
		}
		if x.bad != "" && (err == nil || !strings.Contains(err.Error(), x.bad) || got != (MountIdentity{})) {
			t.Errorf("%s: %+v, %v, want an error with %q", x.what, got, err, x.bad)
		}
	}
}

func TestExtensionThatIsThereTwice(t *testing.T) {
	leaf := *newMountCert(t).add(t, oidFileSystem, mountFS, "utf8").leaf(t)
	leaf.Extensions = append(leaf.Extensions, leaf.Extensions...)
	if id, err := newConnect().Identify(&leaf); err == nil {
		t.Errorf("it gives %+v", id)
	}
}

// TestSignatureOfAnotherKeyIsOfNoUse: a signature that was seen on the wire
// belongs to the key that it was made for.
func TestSignatureOfAnotherKeyIsOfNoUse(t *testing.T) {
	c := newConnect()
	seen := newMountCert(t).add(t, oidFileSystem, mountFS, "utf8").sign(t, c, c.Credentials[0], mountFS, mountTime, "")
	thief := newMountCert(t)
	thief.extensions = seen.extensions
	if id, err := c.Identify(thief.leaf(t)); err == nil {
		t.Errorf("the signature of another key gives %+v", id)
	}
}

// TestCertificateOfTheMountHelper checks a certificate that openssl and Python
// make, by the description of the mount helper's and none of our code.
func TestCertificateOfTheMountHelper(t *testing.T) {
	for _, tool := range []string{"openssl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on PATH; install it to run this test", tool)
		}
	}
	for _, token := range []string{"", mountToken} {
		dir := t.TempDir()
		c := newConnect()
		cred := c.Credentials[0]
		if token != "" {
			cred = c.Credentials[1]
		}
		cmd := exec.CommandContext(t.Context(), "python3", "testdata/mount_certificate.py", dir, mountFS, mountPoint, "us-east-1", cred.AccessKey, cred.SecretKey, token, mountTime.Format("20060102T150405Z"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "certificate.der"))
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Identify(leaf)
		want := MountIdentity{FileSystem: mountFS, AccessPoint: mountPoint, Principal: cred.Principal, AccessKey: cred.AccessKey, Region: "us-east-1"}
		if err != nil || got != want {
			t.Errorf("token %q: %+v, %v", token, got, err)
		}
	}
}

// FuzzIdentify: whatever stands in the extensions, nobody gets a principal
// without a signature.
func FuzzIdentify(f *testing.F) {
	c := newConnect()
	good := newMountCert(f).add(f, oidFileSystem, mountFS, "utf8").add(f, oidAccessPoint, mountPoint, "utf8").sign(f, c, c.Credentials[0], mountFS, mountTime, "")
	f.Add(good.extensions[0].Value, good.extensions[1].Value, good.extensions[2].Value)
	base := newMountCert(f).leaf(f)
	f.Fuzz(func(t *testing.T, fileSystem, point, auth []byte) {
		leaf := *base
		leaf.Extensions = []pkix.Extension{{Id: oidFileSystem, Value: fileSystem}, {Id: oidAccessPoint, Value: point}, {Id: oidClientAuth, Value: auth}}
		if id, err := c.Identify(&leaf); err == nil && (id.Principal != "" || id.FileSystem == "") {
			t.Errorf("%+v", id)
		}
	})
}
