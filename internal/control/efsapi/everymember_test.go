package efsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// furnished is the API of a region that has one of everything. Values of known
// stand for {name} in members.
type furnished struct {
	*api
	known map[string]string
}

// furnish is to be called in a bubble of fake time.
func furnish(t *testing.T) *furnished {
	t.Helper()
	a := newAPI(t)
	f := &furnished{api: a, known: map[string]string{"fs": a.create("with everything"), "plain": a.create("plain"), "src": a.create("source")}}
	f.make("mt", "MountTargetId", "POST", "/mount-targets", `{"FileSystemId":"{fs}","SubnetId":"`+subnetA+`"}`)
	f.make("ap", "AccessPointId", "POST", "/access-points", `{"ClientToken":"t","FileSystemId":"{fs}"}`)
	f.make("", "", "PUT", "/file-systems/{fs}/policy", `{"Policy":"`+strings.ReplaceAll(openPolicy, `"`, `\"`)+`"}`)
	f.make("", "", "POST", "/resource-tags/{fs}", `{"Tags":[{"Key":"team","Value":"storage"}]}`)
	f.make("", "", "POST", "/file-systems/{src}/replication-configuration", `{"Destinations":[{"Region":"us-west-2"}]}`)
	time.Sleep(time.Minute) // of fake time: it is enabled, and nothing is under way
	return f
}

const openPolicy = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"elasticfilesystem:ClientMount"}]}`

func (f *furnished) make(name, member, method, path, body string) {
	f.t.Helper()
	w := f.send(method, fill(path, f.known), fill(body, f.known))
	if w.Code >= 300 {
		f.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if name != "" {
		var m map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			f.t.Fatal(err)
		}
		f.known[name], _ = m[member].(string)
	}
}

// bases are requests that succeed, two where members exclude each other. Every
// member is probed by changing one of them.
var bases = map[string][]members{
	"CreateFileSystem": {{"CreationToken": "new"}, {"CreationToken": "new", "ThroughputMode": "elastic"}, {"CreationToken": "new", "ThroughputMode": "provisioned", "ProvisionedThroughputInMibps": 10},
		{"CreationToken": "new", "Tags": []any{sample["Tag"]}}},
	"DescribeFileSystems":               {{}},
	"UpdateFileSystem":                  {{"FileSystemId": "{plain}"}, {"FileSystemId": "{plain}", "ThroughputMode": "elastic"}, {"FileSystemId": "{plain}", "ThroughputMode": "provisioned", "ProvisionedThroughputInMibps": 10}},
	"UpdateFileSystemProtection":        {{"FileSystemId": "{plain}", "ReplicationOverwriteProtection": "DISABLED"}},
	"DeleteFileSystem":                  {{"FileSystemId": "{plain}"}},
	"CreateReplicationConfiguration":    {{"SourceFileSystemId": "{plain}", "Destinations": []any{sample["DestinationToCreate"]}}},
	"DescribeReplicationConfigurations": {{}},
	"DeleteReplicationConfiguration":    {{"SourceFileSystemId": "{src}"}},
	"CreateMountTarget": {{"FileSystemId": "{plain}", "SubnetId": subnetA}, {"FileSystemId": "{plain}", "SubnetId": subnetA, "IpAddressType": "IPV4_ONLY"},
		{"FileSystemId": "{plain}", "SubnetId": subnetA, "IpAddressType": "DUAL_STACK", "Ipv6Address": "fd00:a::8"}},
	"DescribeMountTargets":              {{"FileSystemId": "{fs}"}, {"MountTargetId": "{mt}"}, {"AccessPointId": "{ap}"}},
	"DeleteMountTarget":                 {{"MountTargetId": "{mt}"}},
	"DescribeMountTargetSecurityGroups": {{"MountTargetId": "{mt}"}},
	"ModifyMountTargetSecurityGroups":   {{"MountTargetId": "{mt}", "SecurityGroups": []any{groupOffice}}},
	"CreateAccessPoint":                 {{"ClientToken": "new", "FileSystemId": "{plain}", "Tags": []any{sample["Tag"]}, "PosixUser": sample["PosixUser"], "RootDirectory": sample["RootDirectory"]}},
	"DescribeAccessPoints":              {{}, {"AccessPointId": "{ap}"}},
	"DeleteAccessPoint":                 {{"AccessPointId": "{ap}"}},
	"PutFileSystemPolicy":               {{"FileSystemId": "{plain}", "Policy": openPolicy}},
	"DescribeFileSystemPolicy":          {{"FileSystemId": "{fs}"}},
	"DeleteFileSystemPolicy":            {{"FileSystemId": "{fs}"}},
	"PutLifecycleConfiguration":         {{"FileSystemId": "{plain}", "LifecyclePolicies": []any{}}},
	"DescribeLifecycleConfiguration":    {{"FileSystemId": "{plain}"}},
	"PutBackupPolicy":                   {{"FileSystemId": "{plain}", "BackupPolicy": members{"Status": "DISABLED"}}},
	"DescribeBackupPolicy":              {{"FileSystemId": "{plain}"}},
	"TagResource":                       {{"ResourceId": "{plain}", "Tags": []any{sample["Tag"]}}, {"ResourceId": "{ap}", "Tags": []any{sample["Tag"]}}},
	"UntagResource":                     {{"ResourceId": "{fs}", "tagKeys": []any{"team"}}},
	"ListTagsForResource":               {{"ResourceId": "{fs}"}},
	"CreateTags":                        {{"FileSystemId": "{plain}", "Tags": []any{sample["Tag"]}}},
	"DeleteTags":                        {{"FileSystemId": "{fs}", "TagKeys": []any{"team"}}},
	"DescribeTags":                      {{"FileSystemId": "{fs}"}},
	"PutAccountPreferences":             {{"ResourceIdType": "LONG_ID"}},
	"DescribeAccountPreferences":        {{}},
}

// sample is a good value of each structure with all its members that may stand
// together.
var sample = map[string]members{
	"Tag":                 {"Key": "k", "Value": "v"},
	"PosixUser":           {"Uid": 1, "Gid": 2, "SecondaryGids": []any{3}},
	"RootDirectory":       {"Path": "/a", "CreationInfo": members{"OwnerUid": 1, "OwnerGid": 2, "Permissions": "0750"}},
	"CreationInfo":        {"OwnerUid": 1, "OwnerGid": 2, "Permissions": "0750"},
	"DestinationToCreate": {"Region": "us-west-2"},
	"LifecyclePolicy":     {"TransitionToIA": "AFTER_7_DAYS"},
	"BackupPolicy":        {"Status": "DISABLED"},
}

// texts are values of the strings: good and bad ones by their pattern, and one
// of any length.
var texts = map[string]struct {
	good, bad []string
	long      func(n int) string
}{
	"AccessPointId":        {[]string{"fsap-01234567", "fsap-" + hex40}, []string{"fsap-0123456", "fsap-" + hex40 + "0", "fsap-0123456G", "fs-0123456789abcdef0", "FSAP-01234567", " fsap-01234567", "fsap-01234567\n", "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-01234567"}, arnOf("access-point/fsap-01234567")},
	"AvailabilityZoneName": {[]string{"a"}, []string{"\n"}, xs},
	"ClientToken":          {[]string{"é", "a\nb"}, []string{"\n"}, xs},
	"CreationToken":        {[]string{"é", "a\nb"}, []string{"\n"}, xs},
	"FileSystemId":         {[]string{"fs-01234567", "fs-" + hex40}, []string{"fs-0123456", "fs-" + hex40 + "0", "fs-0123456G", "fsap-0123456789abcdef0", "fs-01234567\n", "arn:aws:s3:::file-system/fs-01234567", "*"}, arnOf("file-system/fs-01234567")},
	"IpAddress":            {[]string{"127.10.0.9"}, []string{"127.10.0", "127.10.0.9.9", "127.10.0.", "127.10.0.0x9", "localhost", "::ffff:1.2.3.4"}, nil},
	"Ipv6Address":          {[]string{"fd00:a::9", "FD00:000A:0000:0000:0000:0000:0000:0009"}, []string{"nonsense", "127.10.0.9", "fd00:a::9%eth0", "fd00:a:::9", "fd00:b::9", "fd00:a::", "::ffff:127.10.0.9"}, nil},
	"KmsKeyId":             {[]string{"alias/x"}, []string{"x", "alias/", "alias/a b", "arn:aws:kms:us-east-1:1:key/x"}, func(n int) string { return "alias/" + strings.Repeat("x", n-6) }},
	"Marker":               {[]string{"é", "a\nb", "fs-00000000", "../..", "%00"}, []string{"\n"}, xs},
	"MountTargetId":        {[]string{"fsmt-01234567", "fsmt-" + hex40}, []string{"fsmt-0123456", "fsmt-" + hex40 + "0", "fs-0123456789abcdef0", "fsmt-01234567\n", "arn:aws:elasticfilesystem:us-east-1:123456789012:mount-target/fsmt-01234567"}, nil},
	"Path":                 {[]string{"/", "/a/b/c/d", "/é x"}, []string{"a", "/.a", "/a/.b", "/a/b/c/d/e", "//", "/a//b", "/a/", "/a/../b", "/./b", "/..", "/a$b", "/a#b", "/a<b", "/a>b", "/a;b", "/a`b", "/a|b", "/a&b", "/a?b", "/a{b", "/a}b", "/a^b", "/a*b", "/a\nb", "/a\x00b", "\\a"}, func(n int) string { return "/" + strings.Repeat("x", n-1) }},
	"Permissions":          {[]string{"000", "777", "0000", "7777"}, []string{"800", "75a", "-755", "0o755", " 755"}, nil},
	"Policy":               {[]string{openPolicy}, nil, func(n int) string { return openPolicy + strings.Repeat(" ", n-len(openPolicy)) }},
	"RegionName":           {[]string{"us-west-2"}, []string{"US-WEST-2", "us", "us-west-22", "mars", "us_west_2", "us-west-2\n"}, nil},
	"ResourceId":           {[]string{"fs-01234567", "fsap-" + hex40}, []string{"fsmt-0123456789abcdef0", "fs-0123456", "fsx-01234567", "fs-01234567\n"}, arnOf("file-system/fs-01234567")},
	"RoleArn":              {[]string{"arn:aws:iam::123456789012:role/x"}, []string{"x", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"}, func(n int) string { return "arn:aws:iam::123456789012:role/" + strings.Repeat("x", n-31) }},
	"SecurityGroup":        {[]string{"sg-01234567", "sg-" + hex40}, []string{"sg-0123456", "sg-" + hex40 + "0", "group", "sg-0123456G"}, nil},
	"SubnetId":             {[]string{"subnet-01234567", "subnet-" + hex40}, []string{"subnet-0123456", "subnet-" + hex40 + "0", "subnet-0123456G", "subnet-01234567\n"}, nil},
	"TagKey":               {[]string{"a", "é_.:/=+-@ 9", "awsx", "xaws:"}, []string{"aws:x", "AWS:x", "aWs:", "a<b", "a\tb", "a\nb", "a😀", "a*"}, xs},
	"TagValue":             {[]string{"", "é_.:/=+-@ 9", "aws:x"}, []string{"a<b", "a\tb", "a\nb", "a😀"}, xs},
	"Token":                {[]string{"é", "a\nb", "fsap-00000000", "'\"", "%00"}, []string{"\n"}, xs},
}

var hex40 = strings.Repeat("0123456789", 4)

func xs(n int) string { return strings.Repeat("x", n) }

// arnOf is an ARN of a given length: the region takes what is left.
func arnOf(resource string) func(int) string {
	return func(n int) string {
		const head, tail = "arn:aws:elasticfilesystem:", ":123456789012:"
		return head + strings.Repeat("a", n-len(head)-len(tail)-len(resource)) + tail + resource
	}
}

// otherwise are values that EFS takes and Holdfast refuses, with the error, and
// values that need another member beside them. Everything here is in
// docs/efs-compatibility.md. "*" stands for every value.
var otherwise = map[string]string{
	"CreateFileSystem.Backup=true":                                                        "BadRequest",
	"CreateFileSystem.AvailabilityZoneName=*":                                             "UnsupportedAvailabilityZone",
	"CreateFileSystem.Encrypted=true":                                                     "*",          // depends on the keys of the configuration
	"CreateFileSystem.KmsKeyId=*":                                                         "*",          // likewise
	"CreateFileSystem.ThroughputMode=provisioned":                                         "BadRequest", // without an amount
	"UpdateFileSystem.ThroughputMode=provisioned":                                         "BadRequest",
	"CreateFileSystem.ProvisionedThroughputInMibps=null":                                  "BadRequest", // with the mode provisioned
	"UpdateFileSystem.ProvisionedThroughputInMibps=null":                                  "BadRequest",
	"UpdateFileSystemProtection.ReplicationOverwriteProtection=null":                      "BadRequest", // there would be nothing to do
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToIA=null":                  "BadRequest", // a policy has one
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToArchive=null":             "BadRequest",
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToPrimaryStorageClass=null": "BadRequest",
	"CreateReplicationConfiguration.Destinations[0].Region=null":                          "BadRequest", // nothing else says where
	"UpdateFileSystemProtection.ReplicationOverwriteProtection=REPLICATING":               "BadRequest", // the service's own
	"CreateReplicationConfiguration.Destinations[0].AvailabilityZoneName=*":               "UnsupportedAvailabilityZone",
	"CreateReplicationConfiguration.Destinations[0].KmsKeyId=*":                           "*",
	"CreateReplicationConfiguration.Destinations[0].RoleArn=*":                            "BadRequest",
	"CreateReplicationConfiguration.Destinations[0].FileSystemId=*":                       "*",                          // BadRequest for one of an account that is no 12 digits
	"CreateMountTarget.SecurityGroups=100 times":                                          "SecurityGroupLimitExceeded", // EFS's limit is 5
	"ModifyMountTargetSecurityGroups.SecurityGroups=100 times":                            "SecurityGroupLimitExceeded",
	"PutLifecycleConfiguration.LifecyclePolicies=3 times":                                 "BadRequest",
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToIA=*":                     "BadRequest",
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToArchive=*":                "BadRequest",
	"PutLifecycleConfiguration.LifecyclePolicies[0].TransitionToPrimaryStorageClass=*":    "BadRequest",
	"PutBackupPolicy.BackupPolicy.Status=ENABLED":                                         "ValidationException",
	"PutBackupPolicy.BackupPolicy.Status=ENABLING":                                        "ValidationException",
	"PutBackupPolicy.BackupPolicy.Status=DISABLING":                                       "ValidationException",
	"PutAccountPreferences.ResourceIdType=SHORT_ID":                                       "BadRequest",
}

// beyond are errors of operations that the contract does not name for them.
var beyond = map[string][]string{
	"DescribeAccountPreferences": {"BadRequest"},
	"TagResource":                {"IncorrectFileSystemLifeCycleState"}, // of an access point of a replica
	"UntagResource":              {"IncorrectFileSystemLifeCycleState"},
	"DeleteAccessPoint":          {"IncorrectFileSystemLifeCycleState"},
}

// probe is a request with one value changed.
type probe struct {
	at    string // "Tags[0].Key"
	value string // for messages and otherwise
	m     members
	code  string // the error that has to come; "": none, or one that is not about the form
	names string // what the message must name, "" for nothing
}

// prober makes the probes of an operation.
type prober struct {
	t   testing.TB
	c   *contract
	o   *contractOperation
	out []probe
}

func probesOf(t testing.TB, c *contract, o *contractOperation) []probe {
	p := &prober{t: t, c: c, o: o}
	for _, m := range o.Members {
		base := bases[o.Name][0]
		for _, b := range bases[o.Name] {
			if _, has := b[m.Name]; has {
				base = b
				break
			}
		}
		p.member(m, m.Name, base[m.Name], m.In, func(v any) members {
			if v == nil {
				return base.without(m.Name)
			}
			return base.with(m.Name, v)
		})
	}
	return p.out
}

func (p *prober) refuse(at, value string, m members, names string) {
	p.out = append(p.out, probe{at, value, m, "BadRequest", names})
}

func (p *prober) accept(at, value string, m members) {
	p.out = append(p.out, probe{at: at, value: value, m: m})
}

var null = json.RawMessage("null")

// member probes a member that set gives a value; set(nil) leaves it out.
func (p *prober) member(m member, at string, now any, in string, set func(any) members) {
	switch {
	case m.Required && in != "path": // without it the path is another one
		p.refuse(at, "absent", set(nil), m.Name)
		if in == "body" || in == "" {
			p.refuse(at, "null", set(null), m.Name)
		}
	case !m.Required && (in == "body" || in == ""):
		p.accept(at, "null", set(null))
	}
	if m.List != "" {
		p.list(m, at, now, in, set)
		return
	}
	p.value(m.Shape, m.Name, at, now, in, set)
}

func (p *prober) list(m member, at string, now any, in string, set func(any) members) {
	element := p.good(m.List)
	if list, ok := now.([]any); ok && len(list) > 0 {
		element = list[0]
	}
	times := func(n int) []any { return slices.Repeat([]any{element}, n) }
	if m.Max > 0 {
		p.refuse(at, fmt.Sprint(m.Max+1, " times"), set(p.distinct(m.List, element, m.Max+1)), m.Name)
		p.accept(at, fmt.Sprint(m.Max, " times"), set(p.distinct(m.List, element, m.Max)))
	}
	if m.Min > 0 && in == "body" {
		p.refuse(at, "empty", set([]any{}), m.Name)
	}
	if in == "body" || in == "" {
		for _, wrong := range []string{`"x"`, `7`, `true`, `{}`} {
			p.refuse(at, wrong, set(json.RawMessage(wrong)), m.Name)
		}
		p.refuse(at, "[null]", set([]any{null}), m.Name)
	}
	p.value(m.List, m.Name, at+"[0]", element, in, func(v any) members {
		list := times(1)
		list[0] = v
		return set(list)
	})
}

// distinct gives n elements that are not refused for being equal.
func (p *prober) distinct(shapeName string, element any, n int) []any {
	var all []any
	for i := range n {
		switch shapeName {
		case "Tag":
			all = append(all, members{"Key": fmt.Sprint("k", i), "Value": "v"})
		case "TagKey":
			all = append(all, fmt.Sprint("k", i))
		case "SecurityGroup":
			all = append(all, fmt.Sprintf("sg-%08x", i))
		case "LifecyclePolicy":
			name := []string{"TransitionToIA", "TransitionToPrimaryStorageClass", "TransitionToArchive"}[i%3]
			all = append(all, members{name: map[string]string{"TransitionToPrimaryStorageClass": "AFTER_1_ACCESS"}[name] + map[string]string{"TransitionToIA": "AFTER_7_DAYS", "TransitionToArchive": "AFTER_90_DAYS"}[name]})
		default:
			all = append(all, element)
		}
	}
	return all
}

// good is a good value of a shape.
func (p *prober) good(name string) any {
	s := p.c.Shapes[name]
	switch {
	case s.Type == "structure":
		return sample[name]
	case len(s.Values) > 0:
		return s.Values[0]
	case s.Type == "string":
		return texts[name].good[0]
	case s.Type == "boolean":
		return false
	}
	return max(s.Min, 1)
}

func (p *prober) value(shapeName, name, at string, now any, in string, set func(any) members) {
	s, known := p.c.Shapes[shapeName]
	if !known {
		p.t.Fatalf("%s.%s: the contract has no shape %s", p.o.Name, at, shapeName)
	}
	wrong := func(values ...string) {
		for _, v := range values {
			if in == "body" || in == "" {
				p.refuse(at, v, set(json.RawMessage(v)), name)
			}
		}
	}
	switch s.Type {
	case "structure":
		wrong(`"x"`, `7`, `true`, `[]`)
		p.structure(s, at, now, set)
	case "boolean":
		wrong(`"true"`, `1`, `0`, `[]`, `{}`, `"x"`)
		p.accept(at, "true", set(true))
		p.accept(at, "false", set(false))
	case "integer", "double":
		wrong(`"1"`, `true`, `[]`, `{}`, `1e400`, `-1e400`, `[1]`)
		p.number(s, name, at, in, set)
	case "string":
		wrong(`7`, `true`, `[]`, `{}`, `["x"]`)
		if in == "body" || in == "" {
			p.refuse(at, `"\ud800"`, set(json.RawMessage(`"\ud800"`)), "surrogate pair")
		}
		p.text(s, shapeName, name, at, in, set)
	default:
		p.t.Fatalf("%s: unknown type %q", shapeName, s.Type)
	}
}

func (p *prober) structure(s shape, at string, now any, set func(any) members) {
	value, ok := now.(members)
	if !ok {
		value = sample[p.shapeAt(at)]
	}
	p.refuse(at, "with a member that is not known", set(value.with("Colour", "red")), "Colour")
	for _, m := range s.Members {
		p.member(m, at+"."+m.Name, value[m.Name], "", func(v any) members {
			if v == nil {
				return set(value.without(m.Name))
			}
			next := value
			if p.excludes(m.Name, value) {
				next = members{}
			}
			return set(next.with(m.Name, v))
		})
	}
}

// excludes: a lifecycle policy has one transition.
func (p *prober) excludes(name string, value members) bool {
	_, has := value[name]
	return strings.HasPrefix(name, "TransitionTo") && !has
}

// shapeAt is the shape of a structure that no base has: of a lifecycle policy.
func (p *prober) shapeAt(at string) string {
	if strings.HasPrefix(at, "LifecyclePolicies") {
		return "LifecyclePolicy"
	}
	p.t.Fatalf("%s.%s: no base has it", p.o.Name, at)
	return ""
}

func (p *prober) number(s shape, name, at, in string, set func(any) members) {
	for _, v := range []string{fmt.Sprint(s.Min - 1), "-1", fmt.Sprint(s.Max + 1), "99999999999999999999", "-9223372036854775809"} {
		p.out = append(p.out, probe{at, v, set(json.RawMessage(v)), p.beyondRange(s, v), name})
	}
	bad, good := []string{"1.5", "1e1", "0.1e2"}, []string{fmt.Sprint(s.Min), fmt.Sprint(s.Max)}
	if s.Type == "double" {
		bad, good = []string{"0.999999"}, append(good, "1.5", "1e1", "3413.999")
	}
	if in == "query" {
		bad = append(bad, "", "x", "0x1", "+1", " 1", "1 ", "١")
	}
	for _, v := range bad {
		p.refuse(at, v, set(json.RawMessage(v)), name)
	}
	for _, v := range good {
		p.accept(at, v, set(json.RawMessage(v)))
	}
}

// beyondRange: too much throughput has an error of its own.
func (p *prober) beyondRange(s shape, v string) string {
	if s.Type == "double" && !strings.HasPrefix(v, "-") && v != "0" {
		return "ThroughputLimitExceeded"
	}
	return "BadRequest"
}

func (p *prober) text(s shape, shapeName, name, at, in string, set func(any) members) {
	if len(s.Values) > 0 {
		for _, v := range s.Values {
			p.accept(at, v, set(v))
		}
		for _, v := range []string{"", "NOPE", strings.ToLower(s.Values[0]) + " ", swapCase(s.Values[0]), xs(10000)} {
			p.refuse(at, v, set(v), name)
		}
		return
	}
	of, known := texts[shapeName]
	if !known {
		p.t.Fatalf("no values are known for the shape %s: add them to texts", shapeName)
	}
	for _, v := range of.good {
		p.accept(at, v, set(v))
	}
	bad := slices.Clone(of.bad)
	if of.long != nil {
		p.accept(at, fmt.Sprint(s.Max, " characters"), set(of.long(int(s.Max))))
		bad = append(bad, of.long(int(s.Max)+1))
	} else if s.Max > 0 {
		bad = append(bad, xs(int(s.Max)+1))
	}
	if s.Min > 0 || s.Pattern != "" && !regexp.MustCompile(lookahead.ReplaceAllString(s.Pattern, "")).MatchString("") {
		bad = append(bad, "")
	}
	if in != "body" && in != "" {
		bad = append(bad, "\xff")
	}
	for _, v := range bad {
		if in == "path" && v == "" {
			continue // another path
		}
		p.refuse(at, v, set(v), name)
	}
}

var lookahead = regexp.MustCompile(`\(\?![^)]*\)\+?`)

func swapCase(s string) string {
	if u := strings.ToUpper(s); u != s {
		return u
	}
	return strings.ToLower(s)
}

// TestSamplesAreWhatTheContractSays: what is good for the test below is good by
// pattern and bounds of the contract, and what is bad is not.
func TestSamplesAreWhatTheContractSays(t *testing.T) {
	c := readContract(t)
	for name, s := range c.Shapes {
		if s.Type != "string" || s.Values != nil {
			continue
		}
		pattern := regexp.MustCompile(lookahead.ReplaceAllString(s.Pattern, ""))
		fits := func(v string) bool {
			n := int64(utf8.RuneCountInString(v))
			return n >= s.Min && (s.Max == 0 || n <= s.Max) && pattern.MatchString(v)
		}
		for _, v := range texts[name].good {
			if !fits(v) {
				t.Errorf("%q is no %s", v, name)
			}
		}
		if long := texts[name].long; long != nil && (!fits(long(int(s.Max))) || utf8.RuneCountInString(long(int(s.Max)+1)) != int(s.Max)+1) {
			t.Errorf("%s: %q", name, long(int(s.Max)))
		}
		for _, v := range texts[name].bad {
			stricter := name == "SecurityGroup" || name == "Ipv6Address" || name == "Path" || name == "TagKey" // more than pattern and length can say
			if fits(v) && !stricter {
				t.Errorf("%q is a %s", v, name)
			}
		}
	}
}

// TestEveryMemberAtAndBeyondItsBounds sends, for every member of every
// operation, every kind of wrong value, which must be the documented error and
// change nothing, and the values at its bounds, which must not be refused for
// their form.
func TestEveryMemberAtAndBeyondItsBounds(t *testing.T) {
	c := readContract(t)
	if len(bases) != len(c.Operations) {
		t.Errorf("%d operations have a base, there are %d", len(bases), len(c.Operations))
	}
	refused, taken, used := 0, 0, map[string]bool{}
	for _, o := range c.Operations {
		t.Run(o.Name, func(t *testing.T) {
			for i := range bases[o.Name] {
				inBubble(t, func(f *furnished) { f.succeeds(&o, bases[o.Name][i]) })
			}
			var good []probe
			inBubble(t, func(f *furnished) {
				before := f.everything()
				for _, p := range probesOf(t, c, &o) {
					if p.code == "" {
						good = append(good, p)
						continue
					}
					refused++
					what := fmt.Sprintf("%s with %s = %.80q", o.Name, p.at, p.value)
					f.refuses(c, &o, what, f.sendMembers(&o, f.fill(p.m)), p.code, p.names)
					if now := f.everything(); now != before {
						t.Fatalf("%s was refused and changed something:\n%s\nwas\n%s", what, now, before)
					}
				}
			})
			for _, p := range good {
				taken++
				inBubble(t, func(f *furnished) { f.takes(c, &o, p, used) })
			}
		})
	}
	for name := range otherwise {
		if !used[name] {
			t.Errorf("%s: no probe needs this exception", name)
		}
	}
	t.Logf("%d requests were refused, %d values at the bounds were not", refused, taken)
}

func inBubble(t *testing.T, fn func(*furnished)) {
	synctest.Test(t, func(t *testing.T) { fn(furnish(t)) })
}

func (f *furnished) fill(m members) members {
	out := members{}
	for k, v := range m {
		out[k] = v
		if s, ok := v.(string); ok {
			out[k] = fill(s, f.known)
		}
	}
	return out
}

func (f *furnished) succeeds(o *contractOperation, m members) {
	f.t.Helper()
	if w := f.sendMembers(o, f.fill(m)); w.Code != o.Status || w.Header().Get("X-Amzn-ErrorType") != "" {
		f.t.Errorf("%s with %v: %d %s, want %d", o.Name, m, w.Code, w.Body, o.Status)
	}
}

// refuses checks a refusal: the error, its status of the contract, its form,
// and that its text tells what and what to do.
func (f *furnished) refuses(c *contract, o *contractOperation, what string, w *httptest.ResponseRecorder, code, names string) {
	f.t.Helper()
	checkError(f.t, w, what, code)
	checkTold(f.t, what, w, names)
	if want := c.Errors[code].Status; want != 0 && w.Code != want {
		f.t.Errorf("%s: status %d, want %d", what, w.Code, want)
	}
	if !slices.Contains(o.Errors, code) && !slices.Contains(beyond[o.Name], code) {
		f.t.Errorf("%s: %s is no error of this operation", what, code)
	}
}

// takes sends a value at its bounds.
func (f *furnished) takes(c *contract, o *contractOperation, p probe, used map[string]bool) {
	f.t.Helper()
	w := f.sendMembers(o, f.fill(p.m))
	code := w.Header().Get("X-Amzn-ErrorType")
	what := fmt.Sprintf("%s with %s = %.80q", o.Name, p.at, p.value)
	for _, value := range []string{p.value, "*"} {
		name := o.Name + "." + p.at + "=" + value
		want := otherwise[name]
		if want == "" || p.value == "null" && value == "*" {
			continue
		}
		used[name] = true
		if want != "*" && code != want {
			f.t.Errorf("%s: %d %s, want %s", what, w.Code, w.Body, want)
		}
		if code != "" {
			f.refuses(c, o, what, w, code, "")
		}
		return
	}
	switch {
	case code == "" && w.Code == o.Status:
	case code == "" || code == "BadRequest" || w.Code >= 500:
		f.t.Errorf("%s: %d %s", what, w.Code, w.Body)
	default: // well formed, and not there
		f.refuses(c, o, what, w, code, "")
	}
}

// everything is what the region has, as its users see it.
func (f *furnished) everything() string {
	f.t.Helper()
	var b strings.Builder
	c := f.region.Control
	all, err := c.DescribeFileSystems("", "")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, d := range all {
		d.SizeTimestamp = time.Time{}
		mounts, err := c.DescribeMountTargets(d.ID, "", "")
		if err != nil {
			f.t.Fatal(err)
		}
		points, _, err := c.PageOfAccessPoints(d.ID, "", control.MaxAccessPoints)
		if err != nil {
			f.t.Fatal(err)
		}
		_, policy, policyErr := c.DescribePolicy(d.ID)
		rep, repErr := c.DescribeReplications(d.ID)
		for i := range rep {
			rep[i].LastReplicated = time.Time{}
		}
		fmt.Fprintf(&b, "%+v\n %+v\n %+v\n %s %v\n %+v %v\n", d, mounts, points, policy, policyErr, rep, repErr)
	}
	fmt.Fprintf(&b, "on disk: %q\n", f.region.Engines.IDs())
	return b.String()
}
