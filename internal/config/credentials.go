package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// readCredentials reads a file in the form of ~/.aws/credentials:
//
//	[profile]
//	aws_access_key_id = AKIA...
//	aws_secret_access_key = ...
//	aws_session_token = ...      (optional)
//	holdfast_role = operator     (optional; the tools of AWS skip it)
//	holdfast_principal = arn:... (optional; likewise)
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
			all, inProfile = append(all, Credential{Role: RoleAdmin}), true
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
		case "aws_session_token":
			all[len(all)-1].SessionToken = value
		case "holdfast_role":
			all[len(all)-1].Role = value
		case "holdfast_principal":
			all[len(all)-1].Principal = value
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
		if !tokenForm.MatchString(c.SessionToken) {
			return fmt.Errorf("profile %d: aws_session_token is not valid: give at most 1000 visible ASCII characters", i+1)
		}
		if !slices.Contains(roles, c.Role) {
			return fmt.Errorf("profile %d: holdfast_role %.40q is not valid: give one of %s", i+1, c.Role, strings.Join(roles, ", "))
		}
		if c.Principal != "" && !principalForm.MatchString(c.Principal) {
			return fmt.Errorf("profile %d: holdfast_principal %.140q is not valid: give %s", i+1, c.Principal, principalHelp)
		}
	}
	return nil
}
