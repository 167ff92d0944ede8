package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

func newPutCommand() *cobra.Command {
	var who nfsFlags
	var recursive bool
	var workers int
	c := &cobra.Command{
		Use:   "put [-r] LOCAL URL",
		Short: "Copy a file or a tree to a file system, over NFS",
		Long: "Copies a file, or with -r the content of a directory, with modes, times, symbolic and hard links.\n" +
			"What is there is replaced; everything is durable at the server when the command ends. " + nfsURLHelp,
		Example: "  holdfast put notes.txt nfs://127.0.0.1:9401/fs-0123456789abcdef0/docs/\n  holdfast put -r ./site nfs://127.0.0.1:9401/fs-0123456789abcdef0/site",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parsePlace(args[1])
			if err != nil {
				return err
			}
			fi, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			if fi.IsDir() && !recursive {
				return exitError{exitUsage, fmt.Errorf("%s is a directory: give -r to copy what is in it", args[0])}
			}
			client, err := who.dial(cmd.Context(), p)
			if err != nil {
				return err
			}
			defer client.Close()
			if fi.IsDir() {
				bar := newProgress(cmd.ErrOrStderr(), "put")
				done, err := client.CopyTree(cmd.Context(), args[0], p.path, workers, bar.tally)
				bar.done()
				if err != nil {
					return who.explain(incomplete(err, done))
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "copied %s to %s\n", copied(done), p.url)
				return nil
			}
			return who.explain(putFile(cmd.Context(), client, args[0], fi, p))
		},
	}
	who.register(c)
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy a directory's content")
	c.Flags().IntVar(&workers, "workers", nfsclient.DefaultWorkers, "files under way at once")
	return c
}

func putFile(ctx context.Context, client *nfsclient.Client, local string, fi os.FileInfo, p place) error {
	to, err := intoDir(ctx, client, p, filepath.Base(local))
	if err != nil {
		return err
	}
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	mtime := fs.TimeOf(fi.ModTime())
	return client.WriteFrom(ctx, to, f, fi.Size(), nfsclient.FileSpec{Mode: uint32(fi.Mode().Perm()), Exact: true, Mtime: &mtime})
}

// intoDir is the path of a file that is put at p: in p when that is a directory.
func intoDir(ctx context.Context, client *nfsclient.Client, p place, name string) (string, error) {
	info, err := client.Stat(ctx, p.path)
	switch {
	case err == nil && info.Type == fs.TypeDir:
		return path.Join(p.path, name), nil
	case err == nil && p.inside:
		return "", fmt.Errorf("%s is a %s, not a directory", p.url, info.Type)
	case errors.Is(err, iofs.ErrNotExist) && !p.inside:
		return p.path, nil
	}
	return p.path, err
}
