package control

import (
	"strings"
)

// KMSKey is a key that wraps data keys. The names are those of AWS KMS.
type KMSKey struct {
	ID    string // a UUID or mrk-...
	Alias string // alias/...; "": none
}

// maxKMSKey is EFS's longest KmsKeyId, in characters.
const maxKMSKey = 2048

// defaultAlias is what EFS calls the key that it takes when none is named.
const defaultAlias = "alias/aws/elasticfilesystem"

// kmsKey finds the ARN of a key by its id, alias, or the ARN of either; "" is
// the default. Error: BadRequest, with the keys there are.
func (c *Control) kmsKey(name string) (string, error) {
	if len(c.cfg.KMSKeys) == 0 {
		return "", refuse(CodeBadRequest, "region %s has no key to encrypt with: add one to encryption.keys of its configuration and restart, or leave Encrypted and KmsKeyId out", c.cfg.Region)
	}
	short := name
	if strings.HasPrefix(name, "arn:") {
		parts := strings.SplitN(name, ":", 6) // the form was checked
		if len(parts) != 6 || parts[3] != c.cfg.Region || parts[4] != c.cfg.AccountID {
			return "", refuse(CodeBadRequest, "KmsKeyId %.200s is not a key of region %s and account %s: choose one of %s", name, c.cfg.Region, c.cfg.AccountID, c.listKMSKeys())
		}
		short = strings.TrimPrefix(parts[5], "key/")
	}
	for _, k := range c.cfg.KMSKeys {
		if short != "" && (short == k.ID || short == k.Alias) {
			return c.kmsARN(k), nil
		}
	}
	if short == "" || short == defaultAlias { // which nobody has for an alias
		return c.kmsARN(c.cfg.KMSKeys[0]), nil
	}
	return "", refuse(CodeBadRequest, "KmsKeyId %.200s is not a key of this region: choose one of %s, or add it to encryption.keys of its configuration and restart", name, c.listKMSKeys())
}

func (c *Control) kmsARN(k KMSKey) string {
	return "arn:aws:kms:" + c.cfg.Region + ":" + c.cfg.AccountID + ":key/" + k.ID
}

func (c *Control) listKMSKeys() string {
	var all []string
	for _, k := range c.cfg.KMSKeys {
		name := k.ID
		if k.Alias != "" {
			name = k.Alias + " (" + k.ID + ")"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}
