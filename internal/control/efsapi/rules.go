package efsapi

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func itoa(i int) string { return strconv.Itoa(i) }

// textRule is what the API contract (§5) says of a string. Lengths count
// characters.
type textRule struct {
	required bool
	min, max int
	form     *regexp.Regexp // nil: any
	values   []string       // nil: any
	help     string
}

func (r *textRule) check(name, s string) error {
	n := utf8.RuneCountInString(s)
	switch {
	case !utf8.ValidString(s):
		return badRequest("%s %.140q is not valid UTF-8: give %s", name, s, r.help)
	case n < r.min || n > r.max:
		return badRequest("%s has %d characters, %d to %d are allowed: give %s", name, n, r.min, r.max, r.help)
	case r.form != nil && !r.form.MatchString(s):
		return badRequest("%s %.140q is not valid: give %s", name, s, r.help)
	case r.values != nil && !slices.Contains(r.values, s):
		return badRequest("%s %.140q is not valid: give one of %s", name, s, strings.Join(r.values, ", "))
	}
	return nil
}

func (r textRule) needed() *textRule {
	r.required = true
	return &r
}

func oneOf(values ...string) *textRule {
	return &textRule{max: 64, min: 1, values: values, help: "one of " + strings.Join(values, ", ")}
}

// The rules of the contract's shapes.
var (
	// notOnlyLines is the contract's ".+": something other than the ends of lines.
	notOnlyLines = regexp.MustCompile(`.`)
	ruleToken    = &textRule{min: 1, max: 64, help: "1 to 64 characters", form: notOnlyLines}
	rulePage     = &textRule{min: 1, max: 128, help: "the token of the page before", form: notOnlyLines}
	ruleZone     = &textRule{min: 1, max: 64, help: "an availability zone such as us-east-1a", form: notOnlyLines}
	ruleRole     = &textRule{min: 1, max: 2048, help: "the ARN of a role",
		form: regexp.MustCompile(`arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`)}
	ruleFS = &textRule{min: 1, max: 128, help: "an id such as fs-0123456789abcdef0, or the ARN of a file system",
		form: regexp.MustCompile(`^(arn:aws[-a-z]*:elasticfilesystem:[0-9a-z-:]+:file-system/fs-[0-9a-f]{8,40}|fs-[0-9a-f]{8,40})$`)}
	ruleResource = &textRule{min: 1, max: 128, help: "the id or ARN of a file system or an access point",
		form: regexp.MustCompile(`^(arn:aws[-a-z]*:elasticfilesystem:[0-9a-z-:]+:(access-point/fsap|file-system/fs)-[0-9a-f]{8,40}|fs(ap)?-[0-9a-f]{8,40})$`)}
	ruleAccessPoint = &textRule{min: 1, max: 128, help: "an id such as fsap-0123456789abcdef0",
		form: regexp.MustCompile(`^(arn:aws[-a-z]*:elasticfilesystem:[0-9a-z-:]+:access-point/fsap-[0-9a-f]{8,40}|fsap-[0-9a-f]{8,40})$`)}
	ruleTarget = &textRule{min: 13, max: 45, help: "an id such as fsmt-0123456789abcdef0",
		form: regexp.MustCompile(`^fsmt-[0-9a-f]{8,40}$`)}
	ruleSubnet = &textRule{min: 15, max: 47, help: "an id such as subnet-0123456789abcdef0, of the configuration",
		form: regexp.MustCompile(`^subnet-[0-9a-f]{8,40}$`)}
	ruleGroup = &textRule{min: 11, max: 43, help: "an id such as sg-0123456789abcdef0, of the configuration",
		form: regexp.MustCompile(`^sg-[0-9a-f]{8,40}$`)}
	ruleIP = &textRule{min: 7, max: 15, help: "an IPv4 address of the subnet",
		form: regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$`)}
	ruleIPv6   = &textRule{min: 3, max: 39, help: "an IPv6 address of the subnet"}
	ruleRegion = &textRule{min: 1, max: 64, help: "a region such as us-east-1",
		form: regexp.MustCompile(`^[a-z]{2}-((iso[a-z]{0,1}-)|(gov-)){0,1}[a-z]+-{0,1}[0-9]{0,1}$`)}
	ruleTagKey = &textRule{min: 1, max: 128, help: "letters, digits, spaces and _ . : / = + - @, not beginning with aws:",
		form: regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`)}
	ruleTagValue = &textRule{min: 0, max: 256, help: "letters, digits, spaces and _ . : / = + - @",
		form: regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)}
	ruleKMSKey = &textRule{min: 1, max: 2048, help: "the id, the alias or the ARN of a key of the region's configuration",
		form: regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32}|alias/[a-zA-Z0-9/_-]+|(arn:aws[-a-z]*:kms:[a-z0-9-]+:\d{12}:((key/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})|(key/mrk-[0-9a-f]{32})|(alias/[a-zA-Z0-9/_-]+))))$`)}

	rulePerformance = oneOf("generalPurpose", "maxIO")
	ruleThroughput  = oneOf("bursting", "elastic", "provisioned")
	ruleAddressType = oneOf("IPV4_ONLY", "IPV6_ONLY", "DUAL_STACK")
	ruleProtection  = oneOf("ENABLED", "DISABLED", "REPLICATING")
	ruleDeletion    = oneOf("ALL_CONFIGURATIONS", "LOCAL_CONFIGURATION_ONLY")
)

// checkTagKey adds what regexp cannot say: the prefix aws: is AWS's own.
func checkTagKey(name, key string) error {
	if err := ruleTagKey.check(name, key); err != nil {
		return err
	}
	if len(key) >= 4 && strings.EqualFold(key[:4], "aws:") {
		return badRequest("%s %.140q is not valid: choose a key that does not begin with aws:, which is reserved", name, key)
	}
	return nil
}
