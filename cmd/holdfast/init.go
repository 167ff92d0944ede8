package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-fs/holdfast/internal/config"
)

func newInitCommand() *cobra.Command {
	var regions []string
	var o config.Options
	c := &cobra.Command{
		Use:     "init DIR",
		Short:   "Write the files of a new installation; overwrites nothing",
		Long:    "Writes a configuration file for each region, a certificate authority with a certificate for each, and credentials for the API.\nAll regions listen on loopback: edit the configuration files to put them on machines of their own.",
		Example: "  holdfast init demo --regions us-east-1,eu-west-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Now, o.Rand = time.Now, rand.Reader
			s, err := config.Init(args[0], regions, o)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "Wrote %s. Serve the regions, each in a shell of its own:\n\n", s.Dir)
			for _, r := range s.Regions {
				fmt.Fprintf(w, "  %s\n", r.Serve)
			}
			fmt.Fprintf(w, "\nFor the AWS CLI (account %s; also in %s):\n", s.AccountID, s.Credentials)
			for _, r := range s.Regions {
				fmt.Fprintf(w, "\n  # %s: NFS at %s, metrics and health at %s\n", r.Region, r.NFS, r.Metrics)
				for _, l := range s.Exports(r) {
					fmt.Fprintf(w, "  %s\n", l)
				}
			}
			fmt.Fprintf(w, "\nA CLI that does not know AWS_ENDPOINT_URL_EFS takes --endpoint-url instead.\n")
			return nil
		},
	}
	c.Flags().StringSliceVar(&regions, "regions", nil, "names of the regions, such as us-east-1,eu-west-1")
	c.Flags().IntVar(&o.BasePort, "base-port", 0, "API port of the first region; its other ports follow, the next region is 100 further (default 9400)")
	c.Flags().StringVar(&o.AccountID, "account-id", "", "12 digits (default: random)")
	_ = c.MarkFlagRequired("regions") // fails only for a flag that does not exist
	return c
}
