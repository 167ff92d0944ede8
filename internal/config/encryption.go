package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"time"
)

// Encryption is encryption at rest: the keys that wrap the data keys of
// encrypted file systems. Without keys none can be made.
type Encryption struct {
	// Keys of the region. The first is the default. A key must stay here as long as
	// a file system was made with it.
	Keys []EncryptionKey `yaml:"keys"`
}

// EncryptionKey wraps data keys, by a file or by a command.
type EncryptionKey struct {
	// ID is a UUID, or mrk- and 32 hex digits: the id of the key's ARN,
	// arn:aws:kms:REGION:ACCOUNT:key/ID. Needed.
	ID string `yaml:"id"`
	// Alias is another name for it, alias/NAME.
	Alias string `yaml:"alias"`
	// File holds one key of 256 bits a line, in hex or base64: the first wraps, all
	// unwrap. Nobody but its owner may read it.
	File string `yaml:"file"`
	// Command is a program with arguments that wraps and unwraps
	// (docs/formats/encryption.md). A relative path with a slash is relative to the
	// configuration.
	Command []string `yaml:"command"`
	// TimeoutSeconds that the command has, 1 to 600. Default 10.
	TimeoutSeconds int `yaml:"timeout_seconds"`
}

// Timeout is TimeoutSeconds as a duration.
func (k EncryptionKey) Timeout() time.Duration { return time.Duration(k.TimeoutSeconds) * time.Second }

// ARN is the key's name in the API and in the envelopes of data keys.
func (k EncryptionKey) ARN(region, account string) string {
	return "arn:aws:kms:" + region + ":" + account + ":key/" + k.ID
}

const (
	defaultKeyTimeout = 10
	maxKeyTimeout     = 600
)

var (
	keyForm   = regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
	aliasForm = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
)

func (k *checker) encryption(e *Encryption) {
	seen := map[string]bool{}
	for i, key := range e.Keys {
		at := fmt.Sprintf("encryption.keys[%d]", i)
		k.form(at+".id", key.ID, keyForm, "a UUID in lower case, or mrk- and 32 hex digits")
		if key.Alias != "" && !aliasForm.MatchString(key.Alias) {
			k.bad(at+".alias", "%.80q is not valid: give alias/ and a name", key.Alias)
		}
		for _, name := range []string{key.ID, key.Alias} {
			if name != "" && seen[name] {
				k.bad(at, "%q is given twice", name)
			}
			seen[name] = true
		}
		if (key.File == "") == (len(key.Command) == 0) {
			k.bad(at, "give either file or command")
		}
		if len(key.Command) > 0 && key.Command[0] == "" {
			k.bad(at+".command", "its first word is empty: give a program")
		}
		k.between(at+".timeout_seconds", key.TimeoutSeconds, 1, maxKeyTimeout)
	}
}

// resolve makes paths relative to dir. A command without a slash is looked for
// in PATH.
func (k *EncryptionKey) resolve(dir string) {
	if k.File != "" && !filepath.IsAbs(k.File) {
		k.File = filepath.Join(dir, k.File)
	}
	if len(k.Command) > 0 && !filepath.IsAbs(k.Command[0]) && filepath.Base(k.Command[0]) != k.Command[0] {
		k.Command[0] = filepath.Join(dir, k.Command[0])
	}
}
