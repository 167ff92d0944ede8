package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/efs"
	"github.com/aws/aws-sdk-go-v2/service/efs/types"
)

// api speaks to a region's endpoint: EFS with Amazon's own SDK, and what
// Holdfast tells beyond it, signed the same way.
type api struct {
	efs      *efs.Client
	region   string
	endpoint string
	creds    aws.CredentialsProvider
	now      func() time.Time
}

const signingName = "elasticfilesystem"

func newAPI(region, endpoint, key, secret string, now func() time.Time) *api {
	creds := credentials.NewStaticCredentialsProvider(key, secret, "")
	return &api{region: region, endpoint: endpoint, creds: creds, now: now,
		efs: efs.New(efs.Options{Region: region, BaseEndpoint: &endpoint, Credentials: creds})}
}

// status is the part of GET file-systems/{id} that the story needs.
type status struct {
	Role        string           `json:"role"`
	Position    string           `json:"position"`
	Seq         uint64           `json:"seq"`
	DurableSeq  uint64           `json:"durable_seq"`
	Error       string           `json:"error"`
	Replication *replicationInfo `json:"replication"`
}

type replicationInfo struct {
	Connected     bool    `json:"connected"`
	Whole         bool    `json:"whole"`
	Following     bool    `json:"following"`
	LagSeconds    float64 `json:"lag_seconds"`
	LagRecords    uint64  `json:"lag_records"`
	LagBytes      uint64  `json:"lag_bytes"`
	BytesReceived uint64  `json:"bytes_received"`
	LastTransfer  struct {
		Kind      string `json:"kind"`
		BytesWire uint64 `json:"bytes_wire"`
	} `json:"last_transfer"`
	Error   string `json:"error"`
	Problem string `json:"problem"`
}

type hashAnswer struct {
	Position string `json:"position"`
	Hash     string `json:"hash"`
	Keys     uint64 `json:"keys"`
}

type salvageAnswer struct {
	Salvages []struct {
		ID      string `json:"id"`
		Records int    `json:"records"`
		Paths   []struct {
			Path string `json:"path"`
		} `json:"paths"`
		PayloadBytes uint64 `json:"payload_bytes"`
	} `json:"salvages"`
}

// maxAnswer bounds an answer of the endpoint, bytes: a salvage lists paths.
const maxAnswer = 256 << 20

// get asks for /holdfast/v1/file-systems/{id}{what}.
func (a *api) get(ctx context.Context, id, what string, into any) error {
	url := a.endpoint + "/holdfast/v1/file-systems/" + id + what
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	creds, err := a.creds.Retrieve(ctx)
	if err != nil {
		return err
	}
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(nothing[:]), signingName, a.region, a.now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, resp.Status, body)
	}
	return json.Unmarshal(body, into)
}

func (r *region) status(ctx context.Context) (*status, error) {
	st := &status{}
	return st, r.api.get(ctx, r.fsID, "", st)
}

func (r *region) hash(ctx context.Context) (*hashAnswer, error) {
	h := &hashAnswer{}
	return h, r.api.get(ctx, r.fsID, "/hash", h)
}

func (r *region) salvage(ctx context.Context) (*salvageAnswer, error) {
	s := &salvageAnswer{}
	return s, r.api.get(ctx, r.fsID, "/salvage", s)
}

// until asks again and again until done says so; its error ends it too. what
// is for the error when ctx ends.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		switch {
		case ok:
			return nil
		case err != nil && !errors.Is(err, errNotYet):
			return err
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("waiting until %s: %w (%w)", what, context.Cause(ctx), err)
			}
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-time.After(pollEvery):
		}
	}
}

// errNotYet marks an answer that may become better; it is told when it does not.
var errNotYet = errors.New("not yet")

func notYet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotYet, fmt.Sprintf(format, args...))
}

// replication describes the replication of the region's file system, nil when
// there is none.
func (r *region) replication(ctx context.Context) (*types.ReplicationConfigurationDescription, error) {
	out, err := r.api.efs.DescribeReplicationConfigurations(ctx, &efs.DescribeReplicationConfigurationsInput{FileSystemId: &r.fsID})
	var none *types.ReplicationNotFound
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, err
	case len(out.Replications) == 0:
		return nil, nil
	}
	return &out.Replications[0], nil
}

// replicateTo makes the region's file system replicate to that of another one,
// which is made when it is not there.
func (r *region) replicateTo(ctx context.Context, to *region) error {
	dest := types.DestinationToCreate{Region: aws.String(to.Region)}
	if to.fsID != "" {
		dest.FileSystemId = aws.String(to.fsID)
	}
	out, err := r.api.efs.CreateReplicationConfiguration(ctx, &efs.CreateReplicationConfigurationInput{
		SourceFileSystemId: &r.fsID, Destinations: []types.DestinationToCreate{dest}})
	if err != nil {
		return err
	}
	to.fsID = aws.ToString(out.Destinations[0].FileSystemId)
	return until(ctx, "the replication is ENABLED", func() (bool, error) {
		d, err := r.replication(ctx)
		if err != nil || d == nil {
			return false, err
		}
		at := d.Destinations[0]
		if at.Status == types.ReplicationStatusError {
			return false, fmt.Errorf("the replication has status ERROR: %s", aws.ToString(at.StatusMessage))
		}
		return at.Status == types.ReplicationStatusEnabled, nil
	})
}

// endReplication is DeleteReplicationConfiguration in this region.
func (r *region) endReplication(ctx context.Context, source string) error {
	_, err := r.api.efs.DeleteReplicationConfiguration(ctx, &efs.DeleteReplicationConfigurationInput{SourceFileSystemId: &source})
	return err
}

// unprotect allows the region's file system to become a destination.
func (r *region) unprotect(ctx context.Context) error {
	_, err := r.api.efs.UpdateFileSystemProtection(ctx, &efs.UpdateFileSystemProtectionInput{
		FileSystemId: &r.fsID, ReplicationOverwriteProtection: types.ReplicationOverwriteProtectionDisabled})
	return err
}
