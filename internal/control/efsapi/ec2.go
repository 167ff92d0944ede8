package efsapi

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-fs/holdfast/internal/control"
)

// The look-ups of EC2 that tools make beside EFS (Terraform's mount targets,
// the mount helper, the CSI driver), answered from the configuration. The
// protocol is EC2's: form in, XML out, signed for the service ec2.

const (
	ec2SigningName = "ec2"
	ec2Version     = "2016-11-15"
	ec2Namespace   = "http://ec2.amazonaws.com/doc/" + ec2Version + "/"
)

// isEC2 tells the requests of EC2: they go to the root path.
func isEC2(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodPost || r.URL.Query().Has("Action"))
}

// lookup is one call of EC2.
type lookup struct {
	form    url.Values
	network control.Network
}

// serveEC2 answers a verified request.
func (h *handler) serveEC2(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	form, err := ec2Form(r, body)
	if err != nil {
		h.failEC2(w, r, err)
		return
	}
	c.action = cut(form.Get("Action"), maxAuditAgent)
	l := &lookup{form: form, network: h.cfg.Control.Network()}
	answers := map[string]func(string) (any, error){
		"DescribeSubnets": l.subnets, "DescribeSecurityGroups": l.securityGroups, "DescribeAvailabilityZones": l.zones}
	answer := answers[form.Get("Action")]
	if answer == nil {
		h.failEC2(w, r, ec2Refuse("InvalidAction", "The action %.60q is not valid for this endpoint: use DescribeSubnets, DescribeSecurityGroups and DescribeAvailabilityZones of EC2, or the EFS API", form.Get("Action")))
		return
	}
	result, err := answer(c.id)
	if err != nil {
		h.failEC2(w, r, err)
		return
	}
	h.replyXML(w, http.StatusOK, result)
}

// ec2Form reads the parameters, which the query may hold too.
func ec2Form(r *http.Request, body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, ec2Refuse("MalformedQueryString", "the body is no form: %s; encode its parameters", err)
	}
	for k, v := range r.URL.Query() {
		form[k] = append(form[k], v...)
	}
	for k, v := range form {
		if len(v) > 1 {
			return nil, ec2Refuse("InvalidParameterCombination", "the parameter %.60q is given %d times: give it once", k, len(v))
		}
	}
	return form, nil
}

func ec2Refuse(code, format string, args ...any) error { return denied(code, format, args...) }

// list reads name.1, name.2 and so on.
func (l *lookup) list(name string) (all []string) {
	for i := 1; l.form.Has(name + "." + strconv.Itoa(i)); i++ {
		all = append(all, l.form.Get(name+"."+strconv.Itoa(i)))
	}
	return all
}

// match tells whether a thing passes the filters (Filter.N.Name,
// Filter.N.Value.M): one value of each must fit, '*' stands for anything and
// '?' for one character. fields are what the thing has, by the filters' names.
func (l *lookup) match(fields map[string]string) (bool, error) {
	fits := true
	for i := 1; l.form.Has("Filter." + strconv.Itoa(i) + ".Name"); i++ {
		at := "Filter." + strconv.Itoa(i)
		name := l.form.Get(at + ".Name")
		have, known := fields[name]
		if !known && name != "tag-key" && !strings.HasPrefix(name, "tag:") { // nothing here has tags
			return false, ec2Refuse("InvalidParameterValue", "The filter '%.60s' is invalid: use another one, such as vpc-id", name)
		}
		fits = fits && known && slices.ContainsFunc(l.list(at+".Value"), func(p string) bool { return wildcard(p, have) })
	}
	return fits, nil
}

// wildcard matches without backtracking beyond the last star.
func wildcard(pattern, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// wanted filters items by ids (all of which must be there) and by the filters.
func wanted[T any](l *lookup, items []T, ids []string, missing string, fields func(T) (string, map[string]string)) ([]T, error) {
	found := map[string]bool{}
	var all []T
	for _, item := range items {
		id, f := fields(item)
		found[id] = true
		fits, err := l.match(f)
		if err != nil {
			return nil, err
		}
		if fits && (len(ids) == 0 || slices.Contains(ids, id)) {
			all = append(all, item)
		}
	}
	for _, id := range ids {
		if !found[id] {
			return nil, ec2Refuse(missing, "The ID '%.60s' does not exist in the configuration of region %s: call without it to see those that do", id, l.network.Region)
		}
	}
	return all, nil
}

type ipv6BlockXML struct {
	CIDR  string `xml:"ipv6CidrBlock"`
	ID    string `xml:"associationId"`
	State string `xml:"ipv6CidrBlockState>state"`
}

// ipv6Blocks is what EC2 tells of a subnet's IPv6 network, which has an id of
// its own there.
func ipv6Blocks(s control.Subnet) (all []ipv6BlockXML) {
	if s.IPv6CIDR.IsValid() {
		all = append(all, ipv6BlockXML{s.IPv6CIDR.String(), "subnet-cidr-assoc-" + strings.TrimPrefix(s.ID, "subnet-"), "associated"})
	}
	return all
}

// prefixText writes a network, "" for none.
func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

type subnetXML struct {
	SubnetID           string         `xml:"subnetId"`
	SubnetArn          string         `xml:"subnetArn"`
	State              string         `xml:"state"`
	VPCID              string         `xml:"vpcId"`
	CIDR               string         `xml:"cidrBlock,omitempty"`
	IPv6               []ipv6BlockXML `xml:"ipv6CidrBlockAssociationSet>item"`
	IPv6Native         bool           `xml:"ipv6Native"`
	Free               int            `xml:"availableIpAddressCount"`
	AvailabilityZone   string         `xml:"availabilityZone"`
	AvailabilityZoneID string         `xml:"availabilityZoneId"`
	OwnerID            string         `xml:"ownerId"`
	DefaultForAZ       bool           `xml:"defaultForAz"`
	MapPublicIP        bool           `xml:"mapPublicIpOnLaunch"`
}

type subnetsXML struct {
	XMLName   xml.Name    `xml:"DescribeSubnetsResponse"`
	Namespace string      `xml:"xmlns,attr"`
	RequestID string      `xml:"requestId"`
	Subnets   []subnetXML `xml:"subnetSet>item"`
}

func (l *lookup) subnets(requestID string) (any, error) {
	all, err := wanted(l, l.network.Subnets, l.list("SubnetId"), "InvalidSubnetID.NotFound", func(s control.Subnet) (string, map[string]string) {
		cidr := prefixText(s.CIDR)
		return s.ID, map[string]string{"subnet-id": s.ID, "vpc-id": s.VPCID, "cidr-block": cidr, "cidr": cidr, "cidrBlock": cidr,
			"ipv6-cidr-block-association.ipv6-cidr-block": prefixText(s.IPv6CIDR), "ipv6-native": strconv.FormatBool(!s.CIDR.IsValid()),
			"availability-zone": s.AvailabilityZone, "availabilityZone": s.AvailabilityZone, "availability-zone-id": s.AvailabilityZoneID,
			"state": "available", "owner-id": l.network.AccountID, "default-for-az": "false"}
	})
	reply := subnetsXML{Namespace: ec2Namespace, RequestID: requestID}
	for _, s := range all {
		reply.Subnets = append(reply.Subnets, subnetXML{SubnetID: s.ID, SubnetArn: l.network.ARN("subnet/" + s.ID), State: "available", VPCID: s.VPCID,
			CIDR: prefixText(s.CIDR), IPv6: ipv6Blocks(s), IPv6Native: !s.CIDR.IsValid(), Free: l.network.Free(s), AvailabilityZone: s.AvailabilityZone, AvailabilityZoneID: s.AvailabilityZoneID, OwnerID: l.network.AccountID})
	}
	return reply, err
}

type rangeXML struct {
	CIDR string `xml:"cidrIp"`
}

type ipv6RangeXML struct {
	CIDR string `xml:"cidrIpv6"`
}

type permissionXML struct {
	Protocol   string         `xml:"ipProtocol"`
	From       int            `xml:"fromPort"`
	To         int            `xml:"toPort"`
	Ranges     []rangeXML     `xml:"ipRanges>item"`
	IPv6Ranges []ipv6RangeXML `xml:"ipv6Ranges>item"`
}

type groupXML struct {
	OwnerID     string          `xml:"ownerId"`
	GroupID     string          `xml:"groupId"`
	GroupArn    string          `xml:"securityGroupArn"`
	Name        string          `xml:"groupName"`
	Description string          `xml:"groupDescription"`
	VPCID       string          `xml:"vpcId"`
	Ingress     []permissionXML `xml:"ipPermissions>item"`
}

type groupsXML struct {
	XMLName   xml.Name   `xml:"DescribeSecurityGroupsResponse"`
	Namespace string     `xml:"xmlns,attr"`
	RequestID string     `xml:"requestId"`
	Groups    []groupXML `xml:"securityGroupInfo>item"`
}

// nfsPort is what a group lets through; mount targets have no other.
const nfsPort = 2049

func (l *lookup) securityGroups(requestID string) (any, error) {
	all, err := wanted(l, l.network.SecurityGroups, l.list("GroupId"), "InvalidGroup.NotFound", func(g control.SecurityGroup) (string, map[string]string) {
		return g.ID, map[string]string{"group-id": g.ID, "group-name": g.Name, "vpc-id": g.VPCID, "description": g.Description, "owner-id": l.network.AccountID}
	})
	reply := groupsXML{Namespace: ec2Namespace, RequestID: requestID}
	for _, g := range all {
		x := groupXML{OwnerID: l.network.AccountID, GroupID: g.ID, GroupArn: l.network.ARN("security-group/" + g.ID), Name: g.Name, Description: g.Description, VPCID: g.VPCID}
		if len(g.Allow) > 0 {
			v4, v6 := rangesXML(g.Allow)
			x.Ingress = []permissionXML{{Protocol: "tcp", From: nfsPort, To: nfsPort, Ranges: v4, IPv6Ranges: v6}}
		}
		reply.Groups = append(reply.Groups, x)
	}
	return reply, err
}

func rangesXML(all []netip.Prefix) (v4 []rangeXML, v6 []ipv6RangeXML) {
	for _, p := range all {
		if p.Addr().Is4() {
			v4 = append(v4, rangeXML{p.String()})
		} else {
			v6 = append(v6, ipv6RangeXML{p.String()})
		}
	}
	return v4, v6
}

type zoneXML struct {
	Name   string `xml:"zoneName"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	ID     string `xml:"zoneId"`
	Group  string `xml:"groupName"`
	Border string `xml:"networkBorderGroup"`
	Type   string `xml:"zoneType"`
	OptIn  string `xml:"optInStatus"`
}

type zonesXML struct {
	XMLName   xml.Name  `xml:"DescribeAvailabilityZonesResponse"`
	Namespace string    `xml:"xmlns,attr"`
	RequestID string    `xml:"requestId"`
	Zones     []zoneXML `xml:"availabilityZoneInfo>item"`
}

func (l *lookup) zones(requestID string) (any, error) {
	var zones []zoneXML
	for _, s := range l.network.Subnets {
		z := zoneXML{Name: s.AvailabilityZone, State: "available", Region: l.network.Region, ID: s.AvailabilityZoneID,
			Group: l.network.Region, Border: l.network.Region, Type: "availability-zone", OptIn: "opt-in-not-required"}
		if !slices.ContainsFunc(zones, func(o zoneXML) bool { return o.Name == z.Name }) {
			zones = append(zones, z)
		}
	}
	ids := l.list("ZoneId")
	all, err := wanted(l, zones, l.list("ZoneName"), "InvalidParameterValue", func(z zoneXML) (string, map[string]string) {
		return z.Name, map[string]string{"zone-name": z.Name, "zone-id": z.ID, "region-name": z.Region, "state": z.State,
			"group-name": z.Group, "zone-type": z.Type, "opt-in-status": z.OptIn}
	})
	for _, id := range ids {
		if !slices.ContainsFunc(zones, func(z zoneXML) bool { return z.ID == id }) {
			return nil, ec2Refuse("InvalidParameterValue", "Invalid availability zone-id: [%.60s]; call without it to see those of the configuration", id)
		}
	}
	all = slices.DeleteFunc(all, func(z zoneXML) bool { return len(ids) > 0 && !slices.Contains(ids, z.ID) })
	return zonesXML{Namespace: ec2Namespace, RequestID: requestID, Zones: all}, err
}

type ec2ErrorXML struct {
	XMLName xml.Name `xml:"Response"`
	Errors  []struct {
		Code    string
		Message string
	} `xml:"Errors>Error"`
	RequestID string
}

// failEC2 answers with an error in EC2's form.
func (h *handler) failEC2(w http.ResponseWriter, r *http.Request, err error) {
	e := &control.Error{Code: "InternalError", Message: err.Error()}
	status := http.StatusBadRequest
	if errors.As(err, &e) {
		if s := statusOf[e.Code]; s != 0 {
			status = s
		}
	} else {
		status = http.StatusInternalServerError
	}
	w.Header().Set("X-Amzn-ErrorType", e.Code)
	x := ec2ErrorXML{RequestID: callOf(r).id}
	x.Errors = append(x.Errors, struct{ Code, Message string }{e.Code, e.Message})
	h.replyXML(w, status, x)
}

func (h *handler) replyXML(w http.ResponseWriter, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		h.log.Error("encode a reply", "error", err)
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), b...)) // who is gone needs no reply
}
