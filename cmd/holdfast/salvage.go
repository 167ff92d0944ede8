package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

func newSalvageCommand() *cobra.Command {
	var keys func() (seal.Keeper, error)
	c := &cobra.Command{
		Use:   "salvage-copy SALVAGE_DIR NEW_DIR",
		Short: "Copy what was salvaged out of a file system, decrypted",
		Long: "Copies a directory below data_dir/file-systems/FS-ID/salvage to a new one. Of an encrypted file system the\n" +
			"copy is decrypted: --config names the configuration with its keys. The region may run meanwhile.",
		Example: "  holdfast salvage-copy --config us-east-1/holdfast.yaml us-east-1/data/file-systems/fs-0123456789abcdef0/salvage/0000000000000101-00000000000001a0-2f0b83a1 /root/lost",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			unwrap, err := keys()
			if err != nil {
				return err
			}
			from, err := filepath.Abs(args[0]) // what is above "." is not seen in it
			if err != nil {
				return err
			}
			d := disk.Real()
			// FS-ID/salvage/ID: the envelope of the data key is two above.
			key, err := seal.Open(d, filepath.Dir(filepath.Dir(from)), unwrap)
			if err != nil {
				return err
			}
			if key != nil {
				d = seal.Files(d, key, nil)
			} else if err := refuseSealed(d, from); err != nil {
				return err
			}
			if err := os.Mkdir(args[1], 0o700); err != nil {
				return fmt.Errorf("make the directory for the copy: %w; give one that does not exist", err)
			}
			n, err := copyTree(d, from, args[1])
			if err != nil {
				return fmt.Errorf("copy the salvage: %w; %d files were copied", err, n)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d files were copied to %s\n", n, args[1])
			return nil
		},
	}
	keys = keysFlag(c)
	return c
}

// refuseSealed: without the envelope, encrypted bytes would pass for the files.
func refuseSealed(d disk.FS, salvage string) error {
	b, err := disk.ReadFile(d, filepath.Join(salvage, "manifest.json"))
	if err != nil {
		return fmt.Errorf("%s is no salvage: %w", salvage, err)
	}
	if seal.IsSealed(b) {
		return fmt.Errorf("the salvage %s is encrypted, and %s is not there; nothing was copied; give the directory where it was made, FS-ID/salvage/ID",
			salvage, filepath.Join(filepath.Dir(filepath.Dir(salvage)), seal.EnvelopeName))
	}
	return nil
}

// copyTree copies the files of a directory, and of those in it.
func copyTree(d disk.FS, from, to string) (n int, err error) {
	names, err := d.List(from)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		src, dst := filepath.Join(from, name), filepath.Join(to, name)
		st, err := os.Lstat(src)
		if err != nil {
			return n, err
		}
		if st.IsDir() {
			if err := os.Mkdir(dst, 0o700); err != nil {
				return n, err
			}
			m, err := copyTree(d, src, dst)
			n += m
			if err != nil {
				return n, err
			}
			continue
		}
		if err := copyFile(d, src, dst); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func copyFile(d disk.FS, from, to string) (err error) {
	r, err := d.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	// A part of an encrypted file, up to 1 MiB, is decrypted for each read that
	// touches it: few large ones. (io.Copy would have the files choose.)
	buf := make([]byte, 4<<20)
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf); err != nil {
		return err
	}
	return w.Sync()
}
