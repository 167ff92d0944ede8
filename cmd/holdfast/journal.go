package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/disk"
	"github.com/holdfast-fs/holdfast/internal/journal"
	"github.com/holdfast-fs/holdfast/internal/seal"
)

func newJournalCommand() *cobra.Command {
	c := &cobra.Command{Use: "journal", Short: "Look into a journal offline"}
	c.AddCommand(newJournalDump(), newJournalVerify())
	return c
}

func newJournalDump() *cobra.Command {
	var keys func() (seal.Keeper, error)
	c := &cobra.Command{
		Use:     "dump DIR",
		Short:   "Print segments, batches and records of a journal",
		Example: "  holdfast journal dump data/file-systems/fs-0123456789abcdef0/journal-000001",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := journalKey(args[0], keys)
			if err != nil {
				return err
			}
			return journal.Dump(cmd.OutOrStdout(), disk.Real(), args[0], key)
		},
	}
	keys = keysFlag(c)
	return c
}

func newJournalVerify() *cobra.Command {
	var keys func() (seal.Keeper, error)
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every checksum, chain and payload of a journal; changes nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := journalKey(args[0], keys)
			if err != nil {
				return err
			}
			r, err := journal.Verify(disk.Real(), args[0], key)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "lineage %s, generation %d\nbase %s\nlast %s\n", r.Lineage, r.Generation, r.Base, r.Last)
			fmt.Fprintf(w, "%d records, %d payloads of %d bytes, in %d record and %d payload segments\n",
				r.Records, r.Payloads, r.PayloadBytes, r.RecordSegments, r.PayloadSegments)
			if r.Tail != "" {
				fmt.Fprintf(w, "tail: %s\n", r.Tail)
			}
			for _, p := range r.Problems {
				fmt.Fprintf(w, "DAMAGED: %v\n", p)
			}
			if len(r.Problems) > 0 {
				return fmt.Errorf("%d places are damaged; nothing was changed", len(r.Problems))
			}
			fmt.Fprintln(w, "everything verifies")
			return nil
		},
	}
	keys = keysFlag(c)
	return c
}
