package efsapi_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// infrastructure is what a user of Terraform writes for a replicated file
// system, with the endpoints of two regions.
const infrastructure = `
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "KEY"
  secret_key                  = "SECRET"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  max_retries                 = 1
  endpoints {
    efs = "EAST"
    ec2 = "EAST"
  }
}

data "aws_subnet" "a" {
  id = "subnet-0000000000000001a"
}

data "aws_availability_zones" "all" {}

data "aws_security_group" "office" {
  name   = "office"
  vpc_id = data.aws_subnet.a.vpc_id
}

resource "aws_efs_file_system" "home" {
  creation_token  = "home"
  throughput_mode = "MODE"
  tags = {
    Name = "home"
  }
}

resource "aws_efs_mount_target" "a" {
  file_system_id  = aws_efs_file_system.home.id
  subnet_id       = data.aws_subnet.a.id
  security_groups = [data.aws_security_group.office.id]
}

resource "aws_efs_backup_policy" "none" {
  file_system_id = aws_efs_file_system.home.id
  backup_policy {
    status = "DISABLED"
  }
}

resource "aws_efs_access_point" "app" {
  file_system_id = aws_efs_file_system.home.id
  posix_user {
    uid            = 1000
    gid            = 1001
    secondary_gids = [1002]
  }
  root_directory {
    path = "/apps/one"
    creation_info {
      owner_uid   = 1000
      owner_gid   = 1001
      permissions = "0750"
    }
  }
  tags = {
    Name = "app"
  }
}

resource "aws_efs_file_system_policy" "tls" {
  file_system_id = aws_efs_file_system.home.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      Resource  = aws_efs_file_system.home.arn
      Condition = { Bool = { "aws:SecureTransport" = "true" } }
    }]
  })
}

resource "aws_efs_replication_configuration" "west" {
  source_file_system_id = aws_efs_file_system.home.id
  destination {
    region = "us-west-2"
  }
}

output "zones" {
  value = join(",", data.aws_availability_zones.all.names)
}
`

// pluginsVariable names a mirror with the AWS provider, as 'terraform providers
// mirror' makes it. The test runs only then: the provider takes a minute and a
// half to start five times.
const pluginsVariable = "HOLDFAST_TERRAFORM_PLUGINS"

// TestTerraform lets Terraform with the AWS provider make, look at, change and
// destroy resources: a second plan must find nothing to change.
func TestTerraform(t *testing.T) {
	plugins := os.Getenv(pluginsVariable)
	if plugins == "" {
		t.Skip(pluginsVariable + " names no mirror with Terraform's AWS provider; make one with 'terraform providers mirror' to run this test")
	}
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not on PATH")
	}
	_, regions, urls := serve(t)
	dir := t.TempDir()
	write := func(mode string) {
		text := strings.NewReplacer("KEY", accessKey, "SECRET", secretKey, "EAST", urls[0], "MODE", mode).Replace(infrastructure)
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append(args, "-no-color")...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "AWS_EC2_METADATA_DISABLED=true"}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, out.String())
		}
		return out.String()
	}
	write("bursting")
	run("init", "-plugin-dir="+plugins)
	if out := run("apply", "-auto-approve"); !strings.Contains(out, `zones = "us-east-1a,us-east-1b"`) {
		t.Errorf("the zones are not told:\n%s", out)
	}
	run("plan", "-detailed-exitcode") // fails with 2 when it finds something to change
	write("elastic")
	if out := run("apply", "-auto-approve"); !strings.Contains(out, "1 changed") {
		t.Errorf("the throughput mode is not changed:\n%s", out)
	}
	run("destroy", "-auto-approve")
	if all, err := regions[0].Control.DescribeFileSystems("", ""); len(all) != 0 || err != nil {
		t.Errorf("left behind: %+v, %v", all, err)
	}
}
