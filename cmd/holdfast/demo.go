package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/demo"
)

func newDemoCommand() *cobra.Command {
	var o demo.Options
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Fail over and back between two regions on this machine, with a real tree",
		Long: "Starts two regions on loopback, copies a tree in over NFS, kills the primary while files are written,\n" +
			"fails over, works on, brings the old primary back, fails back and compares both regions.\n" +
			"Progress goes to standard error, the report to standard output. The exit status is 0 when everything\n" +
			"was as it must be. Nothing else needs to be installed, and no privileges are needed.",
		Example: "  holdfast demo\n  holdfast demo --from ~/documents --json\n  holdfast demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the holdfast that is running: %w", err)
			}
			o.Binary, o.Out, o.Now, o.Rand = binary, cmd.ErrOrStderr(), time.Now, rand.Reader
			report, err := demo.Run(cmd.Context(), o)
			if !asJSON {
				report.Text(cmd.OutOrStdout())
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if jsonErr := enc.Encode(report); jsonErr != nil {
				return fmt.Errorf("write the report: %w", jsonErr)
			}
			return err
		},
	}
	c.Flags().StringVar(&o.From, "from", "", "directory to copy in (default: the src of a Go toolchain, else a generated tree)")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave both regions running and tell how to look around")
	c.Flags().BoolVar(&asJSON, "json", false, "write the report as one JSON document")
	return c
}
