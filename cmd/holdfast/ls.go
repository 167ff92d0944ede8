package main

import (
	"fmt"
	"io"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/fs"
	"github.com/holdfast-fs/holdfast/internal/nfsclient"
)

func newLsCommand() *cobra.Command {
	var who nfsFlags
	var long, recursive bool
	c := &cobra.Command{
		Use:     "ls URL",
		Short:   "List a directory over NFS",
		Long:    "Lists a directory, or one file. " + nfsURLHelp,
		Example: "  holdfast ls nfs://127.0.0.1:9401/\n  holdfast ls -l nfs://127.0.0.1:9401/fs-0123456789abcdef0/docs",
		Args:    cobra.ExactArgs(1),
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
			return who.explain(client.Walk(cmd.Context(), p.path, func(at string, i nfsclient.Info) error {
				if at == p.path && i.Type == fs.TypeDir {
					return nil
				}
				i.Name = at
				if at != p.path {
					i.Name = at[len(path.Join(p.path, "x"))-1:]
				}
				if err := list(cmd, client, at, i, long); err != nil {
					return err
				}
				if i.Type == fs.TypeDir && !recursive {
					return nfsclient.ErrSkipDir
				}
				return nil
			}))
		},
	}
	who.register(c)
	c.Flags().BoolVarP(&long, "long", "l", false, "show mode, links, owner, size and time")
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, "list what is below, too")
	return c
}

func list(cmd *cobra.Command, client *nfsclient.Client, at string, i nfsclient.Info, long bool) error {
	w := cmd.OutOrStdout()
	if !long {
		_, err := fmt.Fprintln(w, i.Name)
		return err
	}
	return listLong(cmd, client, w, at, i)
}

func listLong(cmd *cobra.Command, client *nfsclient.Client, w io.Writer, at string, i nfsclient.Info) error {
	if i.Type == fs.TypeSymlink {
		target, err := client.Readlink(cmd.Context(), at)
		if err != nil {
			return err
		}
		i.Name += " -> " + target
	}
	_, err := fmt.Fprintf(w, "%s %3d %5d %5d %12d %s %s\n", i.FileMode(), i.Nlink, i.UID, i.GID, i.Size,
		i.Mtime.Go().Local().Format(time.DateTime), i.Name)
	return err
}
