package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/fs"
)

func newCatCommand() *cobra.Command {
	var who nfsFlags
	c := &cobra.Command{
		Use:     "cat URL",
		Short:   "Write a file's content to standard output, over NFS",
		Long:    "Writes a file's content to standard output. " + nfsURLHelp,
		Example: "  holdfast cat nfs://127.0.0.1:9401/fs-0123456789abcdef0/docs/readme.txt",
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
			f, err := client.Open(cmd.Context(), p.path)
			if err != nil {
				return err
			}
			if f.Info.Type != fs.TypeRegular {
				return fmt.Errorf("%s is a %s, not a file", p.url, f.Info.Type)
			}
			n, err := f.CopyTo(cmd.Context(), cmd.OutOrStdout())
			if err != nil {
				return who.explain(fmt.Errorf("the output of %s ended after %d of %d bytes: %w", p.url, n, f.Info.Size, err))
			}
			return nil
		},
	}
	who.register(c)
	return c
}
