package efsapi

import (
	"math"
	"strconv"
	"time"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// timestamp is epoch seconds with milliseconds, a JSON number.
type timestamp time.Time

// MarshalJSON implements json.Marshaler.
func (t timestamp) MarshalJSON() ([]byte, error) {
	ms := time.Time(t).UnixMilli()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', -1, 64), nil
}

func timestampOf(t time.Time) *timestamp {
	if t.IsZero() {
		return nil
	}
	ts := timestamp(t)
	return &ts
}

type tagShape struct {
	Key   string
	Value string
}

func tagShapes(tags []control.Tag) []tagShape {
	all := make([]tagShape, 0, len(tags))
	for _, t := range tags {
		all = append(all, tagShape(t))
	}
	return all
}

type sizeShape struct {
	Value           int64
	Timestamp       *timestamp `json:",omitempty"`
	ValueInIA       int64
	ValueInStandard int64
	ValueInArchive  int64
}

type protectionShape struct {
	ReplicationOverwriteProtection string
}

type fileSystemShape struct {
	OwnerID              string `json:"OwnerId"`
	CreationToken        string
	FileSystemID         string `json:"FileSystemId"`
	FileSystemArn        string
	CreationTime         *timestamp
	LifeCycleState       string
	Name                 string `json:",omitempty"`
	NumberOfMountTargets int
	SizeInBytes          sizeShape
	PerformanceMode      string
	Encrypted            bool
	KmsKeyID             string `json:"KmsKeyId,omitempty"`
	ThroughputMode       string
	// ProvisionedThroughputInMibps is of the mode provisioned.
	ProvisionedThroughputInMibps float64 `json:",omitempty"`
	Tags                         []tagShape
	FileSystemProtection         protectionShape
	// LifeCycleStateMessage is ours: why the state is error. SDKs skip it.
	LifeCycleStateMessage string `json:",omitempty"`
}

func fileSystemShapeOf(d control.FileSystemDescription) fileSystemShape {
	size := int64(min(d.SizeBytes, math.MaxInt64))
	return fileSystemShape{
		OwnerID: d.OwnerID, CreationToken: d.CreationToken, FileSystemID: d.ID, FileSystemArn: d.ARN,
		CreationTime: timestampOf(d.CreationTime), LifeCycleState: string(d.State), Name: d.Name,
		NumberOfMountTargets: d.MountTargets, PerformanceMode: d.PerformanceMode, ThroughputMode: d.ThroughputMode,
		Encrypted: d.KMSKey != "", KmsKeyID: d.KMSKey,
		ProvisionedThroughputInMibps: d.Provisioned,
		SizeInBytes:                  sizeShape{Value: size, Timestamp: timestampOf(d.SizeTimestamp), ValueInStandard: size},
		Tags:                         tagShapes(d.Tags),
		FileSystemProtection:         protectionShape{d.Protection},
		LifeCycleStateMessage:        d.Message,
	}
}

type mountTargetShape struct {
	OwnerID              string `json:"OwnerId"`
	MountTargetID        string `json:"MountTargetId"`
	FileSystemID         string `json:"FileSystemId"`
	SubnetID             string `json:"SubnetId"`
	LifeCycleState       string
	IPAddress            string `json:"IpAddress,omitempty"`
	IPv6Address          string `json:"Ipv6Address,omitempty"`
	NetworkInterfaceID   string `json:"NetworkInterfaceId"`
	AvailabilityZoneID   string `json:"AvailabilityZoneId,omitempty"`
	AvailabilityZoneName string `json:",omitempty"`
	VpcID                string `json:"VpcId,omitempty"`
}

func mountTargetShapeOf(d control.MountTargetDescription) mountTargetShape {
	return mountTargetShape{
		OwnerID: d.OwnerID, MountTargetID: d.ID, FileSystemID: d.FileSystemID, SubnetID: d.SubnetID,
		LifeCycleState: string(d.State), IPAddress: d.IPAddress, IPv6Address: d.IPv6Address, NetworkInterfaceID: d.InterfaceID,
		AvailabilityZoneID: d.Subnet.AvailabilityZoneID, AvailabilityZoneName: d.Subnet.AvailabilityZone, VpcID: d.Subnet.VPCID,
	}
}

type destinationShape struct {
	Status                  string
	FileSystemID            string `json:"FileSystemId"`
	Region                  string
	LastReplicatedTimestamp *timestamp `json:",omitempty"`
	OwnerID                 string     `json:"OwnerId"`
	StatusMessage           string     `json:",omitempty"`
}

type replicationShape struct {
	SourceFileSystemID          string `json:"SourceFileSystemId"`
	SourceFileSystemRegion      string
	SourceFileSystemArn         string
	OriginalSourceFileSystemArn string
	CreationTime                *timestamp
	Destinations                []destinationShape
	SourceFileSystemOwnerID     string `json:"SourceFileSystemOwnerId"`
}

func replicationShapeOf(d control.ReplicationDescription) replicationShape {
	return replicationShape{
		SourceFileSystemID: d.SourceID, SourceFileSystemRegion: d.SourceRegion, SourceFileSystemArn: d.SourceARN,
		OriginalSourceFileSystemArn: d.SourceARN, CreationTime: timestampOf(d.CreationTime), SourceFileSystemOwnerID: d.OwnerID,
		Destinations: []destinationShape{{Status: d.Status, FileSystemID: d.DestinationID, Region: d.DestRegion,
			LastReplicatedTimestamp: timestampOf(d.LastReplicated), OwnerID: d.OwnerID, StatusMessage: d.StatusMessage}},
	}
}
