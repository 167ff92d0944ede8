package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration; a long list of subnets takes some KiB.
const maxFileBytes = 1 << 20

// Load reads and checks a configuration file. Paths in it are relative to it.
// The error lists every problem, each with file, line, key, value and what is
// allowed.
func Load(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(raw, path)
	if err != nil {
		return nil, err
	}
	if c.API.CredentialsFile != "" {
		more, err := readCredentials(c.API.CredentialsFile)
		if err != nil {
			return nil, fmt.Errorf("%s: api.credentials_file: %w", path, err)
		}
		for i := range more {
			more[i].setPrincipal(c.AccountID)
		}
		c.API.Credentials = append(c.API.Credentials, more...)
	}
	return c, nil
}

// Parse is Load without reading any file; path is only for messages and for
// making relative paths relative to its directory.
func Parse(raw []byte, path string) (*Config, error) {
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("%s: the configuration is larger than %d bytes", path, maxFileBytes)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("%s: %s", path, plain(err))
	}
	c := &Config{}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", path, plain(err))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one YAML document", path)
	}
	c.setDefaults()
	k := &checker{path: path, root: &root}
	k.config(c)
	c.resolve(filepath.Dir(path))
	return c, errors.Join(k.problems...)
}

// plain takes the decoder's own words out of its errors: "line 3: field foo not
// found in type config.API" names a Go type that nobody knows.
func plain(err error) string {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return strings.TrimPrefix(err.Error(), "yaml: ")
	}
	var lines []string
	for _, e := range t.Errors {
		before, _, found := strings.Cut(e, " not found in type")
		if found {
			e = strings.Replace(before, "field ", "unknown key ", 1)
		}
		lines = append(lines, e)
	}
	return strings.Join(lines, "; ")
}

// resolve makes paths relative to dir.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.DataDir, &c.API.CredentialsFile, &c.API.AuditLog, &c.Peer.Cert, &c.Peer.Key, &c.Peer.CA,
		&c.NFS.TLS.CACert, &c.NFS.TLS.CAKey} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Encryption.Keys {
		c.Encryption.Keys[i].resolve(dir)
	}
}

// line finds the line of a key such as "peer.peers[1].url", or of the deepest
// part of it that is there.
func line(n *yaml.Node, key string) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	at := max(n.Line, 1)
	for part := range strings.FieldsFuncSeq(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if n = child(n, part); n == nil {
			return at
		}
		at = n.Line
	}
	return at
}

func child(n *yaml.Node, part string) *yaml.Node {
	if i, err := strconv.Atoi(part); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
		return n.Content[i]
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == part {
			return n.Content[i+1]
		}
	}
	return nil
}
