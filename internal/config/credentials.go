package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// readCredentials reads a file in the form of ~/.aws/credentials:
//
//	[profile]
//	aws_access_key_id = AKIA...
//	aws_secret_access_key = ...
func readCredentials(path string) ([]Credential, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFileBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFileBytes)
	}
	all, err := parseCredentials(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func parseCredentials(text string) ([]Credential, error) {
	var all []Credential
	inProfile := false
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' || l[0] == ';' {
			continue
		}
		if l[0] == '[' && strings.HasSuffix(l, "]") {
			all, inProfile = append(all, Credential{}), true
			continue
		}
		key, value, ok := strings.Cut(l, "=")
		if !ok || !inProfile {
			return nil, fmt.Errorf("line %d is neither [profile] nor key = value below one", n)
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "aws_access_key_id":
			all[len(all)-1].AccessKey = value
		case "aws_secret_access_key":
			all[len(all)-1].SecretKey = value
		}
	}
	return all, checkCredentials(all)
}

func checkCredentials(all []Credential) error {
	if len(all) == 0 {
		return errors.New("there is no [profile] in it")
	}
	for i, c := range all {
		if !accessKeyForm.MatchString(c.AccessKey) {
			return fmt.Errorf("profile %d: aws_access_key_id %.140q is not valid: give 16 to 128 letters, digits or '_'", i+1, c.AccessKey)
		}
		if !secretForm.MatchString(c.SecretKey) {
			return fmt.Errorf("profile %d: aws_secret_access_key is missing or not valid: give 16 to 128 visible ASCII characters", i+1)
		}
	}
	return nil
}
