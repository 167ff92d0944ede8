package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

func newGetCommand() *cobra.Command {
	var who nfsFlags
	var recursive bool
	var workers int
	c := &cobra.Command{
		Use:   "get [-r] URL LOCAL",
		Short: "Copy a file or a tree from a file system, over NFS",
		Long: "Copies a file, or with -r the content of a directory, with modes, times, symbolic and hard links.\n" +
			"What is there is replaced. " + nfsURLHelp,
		Example: "  holdfast get nfs://127.0.0.1:9401/fs-0123456789abcdef0/docs/readme.txt .\n  holdfast get -r nfs://127.0.0.1:9401/fs-0123456789abcdef0/site ./site",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parsePlace(args[0])
			if err != nil {
				return err
			}
			client, err := who.dial(cmd.Context(), p)
			if err != nil {
				return err
			}
			defer client.Close()
			info, err := client.Stat(cmd.Context(), p.path)
			switch {
			case err != nil:
				return err
			case info.Type == fs.TypeDir && recursive:
				bar := newProgress(cmd.ErrOrStderr(), "get")
				done, err := client.FetchTree(cmd.Context(), p.path, args[1], workers, bar.tally)
				bar.done()
				if err != nil {
					return who.explain(incomplete(err, done))
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "copied %s to %s\n", copied(done), args[1])
				return nil
			case info.Type == fs.TypeDir:
				return exitError{exitUsage, fmt.Errorf("%s is a directory: give -r to copy what is in it", p.url)}
			case info.Type != fs.TypeRegular:
				return fmt.Errorf("%s is a %s, not a file", p.url, info.Type)
			}
			local := args[1]
			if fi, err := os.Stat(local); err == nil && fi.IsDir() {
				local = filepath.Join(local, path.Base(p.path))
			}
			_, err = client.FetchFile(cmd.Context(), p.path, local)
			return who.explain(err)
		},
	}
	who.register(c)
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy a directory's content")
	c.Flags().IntVar(&workers, "workers", nfsclient.DefaultWorkers, "files under way at once")
	return c
}
