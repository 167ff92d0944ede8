package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/config"
	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/region"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

// keysFlag adds --config to a command that looks at data offline: an encrypted
// file system needs the keys of its region.
func keysFlag(c *cobra.Command) (keys func() (seal.Keeper, error)) {
	path := c.Flags().String("config", "", "the region's configuration, for the keys of encrypted file systems")
	return func() (seal.Keeper, error) {
		if *path == "" {
			return nil, nil
		}
		cfg, err := config.Load(*path)
		if err != nil {
			return nil, err
		}
		return region.OpenKeys(cfg)
	}
}

// journalKey finds the data key of a journal: the envelope is in the directory
// above it.
func journalKey(dir string, keys func() (seal.Keeper, error)) (*seal.Key, error) {
	k, err := keys()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir) // what is above "." is not seen in it
	if err != nil {
		return nil, err
	}
	return seal.Open(disk.Real(), filepath.Dir(dir), k)
}
