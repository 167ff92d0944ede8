package efsapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// The mount helper of EFS makes a certificate of its own for every mount and
// says in extensions of it who mounts what. The certificate is trusted by
// nobody; what counts is that the client has its key (which TLS proves), and
// that the key is signed with an access key, if it claims one.
var (
	oidAccessPoint = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 4843, 7, 1}
	oidClientAuth  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 4843, 7, 2}
	oidFileSystem  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 4843, 7, 3}
)

// connectLife is how long a signature of a client's key is good, as EFS has it.
// The helper renews its certificate every hour.
const connectLife = 24 * time.Hour

// MountIdentity is what a client's certificate says of a mount.
type MountIdentity struct {
	FileSystem  string // id; "" when it does not say
	AccessPoint string // id; "" for none
	// Principal is who signed, "" for nobody; AccessKey with which key; Region
	// for which region.
	Principal string
	AccessKey string
	Region    string
}

// clientAuth is the signature in a certificate:
//
//	SEQUENCE { UTF8String access key, OCTET STRING hex signature, UTCTime,
//	           [0] EXPLICIT UTF8String session token OPTIONAL }
type clientAuth struct {
	AccessKey string `asn1:"utf8"`
	Signature []byte
	Time      time.Time `asn1:"utc"`
	Token     string    `asn1:"utf8,explicit,optional,tag:0"`
}

// Connect checks the certificates of clients that mount.
type Connect struct {
	Region string
	// Peers are regions whose signatures are good too: of clients whose address
	// has moved here. Whether they mean a file system of here is for the caller
	// to see.
	Peers       []string
	Credentials []Credential
	Now         func() time.Time
}

// Identify reads a client's certificate and verifies the signature in it.
func (c *Connect) Identify(leaf *x509.Certificate) (id MountIdentity, err error) {
	if id.AccessPoint, err = textOf(leaf, oidAccessPoint); err != nil {
		return MountIdentity{}, fmt.Errorf("the access point in its certificate: %w", err)
	}
	if id.FileSystem, err = textOf(leaf, oidFileSystem); err != nil {
		return MountIdentity{}, fmt.Errorf("the file system in its certificate: %w", err)
	}
	if id.AccessPoint != "" && !control.IsAccessPointID(id.AccessPoint) {
		return MountIdentity{}, fmt.Errorf("its certificate names the access point %.60q, which is no id", id.AccessPoint)
	}
	if id.FileSystem != "" && !control.IsFileSystemID(id.FileSystem) {
		return MountIdentity{}, fmt.Errorf("its certificate names the file system %.60q, which is no id", id.FileSystem)
	}
	raw, err := extension(leaf, oidClientAuth)
	if err != nil || raw == nil {
		return id, err
	}
	var a clientAuth
	if rest, err := asn1.Unmarshal(raw, &a); err != nil || len(rest) > 0 {
		return MountIdentity{}, errors.New("the signature in its certificate cannot be read")
	}
	cred, region, err := c.verify(leaf, id.FileSystem, &a)
	if err != nil {
		return MountIdentity{}, err
	}
	id.Principal, id.AccessKey, id.Region = cred.Principal, cred.AccessKey, region
	return id, nil
}

// extension finds the value of an extension, nil when there is none.
func extension(leaf *x509.Certificate, oid asn1.ObjectIdentifier) (value []byte, err error) {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(oid) {
			continue
		}
		if value != nil {
			return nil, fmt.Errorf("its certificate has the extension %s twice", oid)
		}
		value = e.Value
	}
	return value, nil
}

// textOf reads an extension that is an UTF8String; "" when there is none.
func textOf(leaf *x509.Certificate, oid asn1.ObjectIdentifier) (string, error) {
	raw, err := extension(leaf, oid)
	if err != nil || raw == nil {
		return "", err
	}
	var s string
	if rest, err := asn1.UnmarshalWithParams(raw, &s, "utf8"); err != nil || len(rest) > 0 {
		return "", errors.New("it is no UTF8String")
	}
	if s == "" {
		return "", errors.New("it is empty")
	}
	return s, nil
}

// verify checks that the client's key was signed with an access key of the
// region.
func (c *Connect) verify(leaf *x509.Certificate, fileSystem string, a *clientAuth) (cred Credential, region string, err error) {
	if fileSystem == "" {
		return Credential{}, "", errors.New("its certificate is signed and names no file system")
	}
	cred, known := c.credential(a.AccessKey)
	if !known {
		return Credential{}, "", fmt.Errorf("the access key %.40q in its certificate is not in the configuration of region %s", a.AccessKey, c.Region)
	}
	if err := checkToken(cred, a.Token); err != nil {
		return Credential{}, "", err
	}
	now := c.Now().UTC()
	if age := now.Sub(a.Time); age > connectLife || age < -maxSkew {
		return Credential{}, "", fmt.Errorf("the signature in its certificate is of %s, and it is %s now: it holds for %s; let the mount helper renew it, or set the clock",
			a.Time.UTC().Format(dateForm), now.Format(dateForm), connectLife)
	}
	given, err := hex.DecodeString(string(a.Signature))
	if err != nil {
		return Credential{}, "", errors.New("the signature in its certificate is not written in hex digits")
	}
	hash, err := publicKeyHash(leaf)
	if err != nil {
		return Credential{}, "", err
	}
	for _, region := range append([]string{c.Region}, c.Peers...) {
		for _, blank := range []string{"", "\n"} {
			if hmac.Equal(signature(&cred, region, fileSystem, hash, a, blank), given) {
				return cred, region, nil
			}
		}
	}
	return Credential{}, "", fmt.Errorf("the signature in its certificate is not that of access key %s for file system %s in region %s", cred.AccessKey, fileSystem, c.Region)
}

func (c *Connect) credential(accessKey string) (Credential, bool) {
	for _, cred := range c.Credentials {
		if cred.AccessKey == accessKey {
			return cred, true
		}
	}
	return Credential{}, false
}

// publicKeyHash is SHA-1 over the bits of the key, as the subject key identifier
// of RFC 5280 §4.2.1.2 (1).
func publicKeyHash(leaf *x509.Certificate) (string, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(leaf.RawSubjectPublicKeyInfo, &info); err != nil {
		return "", errors.New("the public key in its certificate cannot be read")
	}
	sum := sha1.Sum(info.Key.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

// signature is Signature Version 4 over
//
//	GET / ?Action=Connect&PublicKeyHash=...&X-Amz-...
//
// for a host that is the file system's id. blank stands after the headers: the
// helper leaves out the empty line that the form of AWS has there; either is
// taken.
func signature(cred *Credential, region, fileSystem, hash string, a *clientAuth, blank string) []byte {
	at := a.Time.UTC()
	stamp, date := at.Format(dateForm), at.Format(dateForm[:8])
	scope := strings.Join([]string{date, region, signingName, terminator}, "/")
	query := "Action=Connect&PublicKeyHash=" + hash +
		"&X-Amz-Algorithm=" + algorithm +
		"&X-Amz-Credential=" + url.QueryEscape(cred.AccessKey+"/"+scope) +
		"&X-Amz-Date=" + stamp +
		"&X-Amz-Expires=86400"
	if a.Token != "" {
		query += "&X-Amz-Security-Token=" + url.QueryEscape(a.Token)
	}
	query += "&X-Amz-SignedHeaders=host"
	empty := sha256.Sum256(nil)
	canonical := "GET\n/\n" + query + "\nhost:" + fileSystem + "\n" + blank + "host\n" + hex.EncodeToString(empty[:])
	hashed := sha256.Sum256([]byte(canonical))
	key := mac([]byte("AWS4"+cred.SecretKey), date)
	key = mac(mac(mac(key, region), signingName), terminator)
	return mac(key, algorithm+"\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(hashed[:]))
}
