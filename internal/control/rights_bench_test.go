package control_test

import (
	"net/netip"
	"testing"

	"github.com/holdfast-fs/holdfast/internal/control"
	"github.com/holdfast-fs/holdfast/internal/control/controltest"
)

// BenchmarkClientRights is what the NFS server asks for every COMPOUND.
func BenchmarkClientRights(b *testing.B) {
	for name, text := range map[string]string{"none": "", "policy": `{"Statement":[
		{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:Client*","Condition":{"Bool":{"elasticfilesystem:AccessedViaMountTarget":"true"}}},
		{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`} {
		b.Run(name, func(b *testing.B) {
			_, _, all := controltest.NewRegions(1, "us-east-1")
			r := all[0]
			if err := r.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer r.Control.Close()
			d, err := r.Control.CreateFileSystem(b.Context(), control.CreateFileSystemRequest{CreationToken: "a"})
			if err != nil {
				b.Fatal(err)
			}
			if text != "" {
				if _, err := r.Control.PutPolicy(b.Context(), d.ID, text, control.Caller{}, false); err != nil {
					b.Fatal(err)
				}
			}
			w := control.Client{Secure: true, MountTarget: true, SourceIP: netip.MustParseAddr("10.0.0.1")}
			b.ReportAllocs()
			for b.Loop() {
				if !r.Control.ClientRights(d.ID, w).Mount {
					b.Fatal("refused")
				}
			}
		})
	}
}
