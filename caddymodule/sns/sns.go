// Package sns hands text messages to Amazon SNS. It is a package of its own,
// since the AWS SDK for Go makes a binary megabytes larger; cmd/sidegate has it.
package sns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
)

func init() { caddy.RegisterModule(Sender{}) }

// Sender hands text messages to Amazon SNS. Placeholders are allowed in every
// text.
type Sender struct {
	// The AWS region, such as eu-west-1. It must be one that sends text messages.
	Region string `json:"region"`
	// An access key. Default: what the AWS SDK finds: environment, shared files,
	// the role of the task, the pod or the machine. Prefer a role.
	AccessKeyID string `json:"access_key_id,omitempty"`
	// The access key's secret: use {env.NAME} or {file./path}.
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	// Who messages come from: a name of up to 11 letters and digits, where the
	// country allows one. Default: what the account has.
	SenderID string `json:"sender_id,omitempty"`
	// The number that messages come from. Default: what the account has.
	OriginationNumber string `json:"origination_number,omitempty"`
	// The most that one message may cost, in US dollars, such as 0.50: a dearer
	// one is not sent. Default: no limit but the account's.
	MaxPrice string `json:"max_price,omitempty"`
	// The API's address, for a VPC endpoint. Default: the region's.
	Endpoint string `json:"endpoint,omitempty"`
	// How long one attempt may take, 100ms to 30s. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	caddymodule.CountryScope

	client     *awssns.Client
	http       *http.Client
	attributes map[string]types.MessageAttributeValue // of every message
}

// CaddyModule returns the Caddy module information.
func (Sender) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.senders.sns", New: func() caddy.Module { return new(Sender) }}
}

// Provision makes the client. Nothing is sent yet, and no role is asked for.
func (s *Sender) Provision(ctx caddy.Context) error {
	if err := errors.Join(caddymodule.CheckTimeout(s.Timeout), s.CheckCountries()); err != nil {
		return err
	}
	values := map[string]string{}
	for key, value := range map[string]string{
		"region": s.Region, "access_key_id": s.AccessKeyID, "secret_access_key": s.SecretAccessKey,
		"sender_id": s.SenderID, "origination_number": s.OriginationNumber, "max_price": s.MaxPrice, "endpoint": s.Endpoint,
	} {
		var err error
		if values[key], err = caddymodule.Resolve(key, value); err != nil {
			return err
		}
	}
	if err := check(values); err != nil {
		return err
	}
	s.attributes = attributes(values)
	return s.connect(ctx, values)
}

var price = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,5})?$`)

func check(values map[string]string) error {
	switch {
	case values["region"] == "":
		return errors.New("region is needed, such as eu-west-1")
	case (values["access_key_id"] == "") != (values["secret_access_key"] == ""):
		return errors.New("access_key_id and secret_access_key belong together")
	case values["max_price"] != "" && !price.MatchString(values["max_price"]):
		return errors.New("max_price must be US dollars, such as 0.50")
	}
	if text := values["endpoint"]; text != "" {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return errors.New("endpoint must be https:// and a host")
		}
	}
	return nil
}

// connect makes the client of the SDK. It repeats nothing: whoever does not
// answer may have taken the message, and the next sender gets it.
func (s *Sender) connect(ctx context.Context, values map[string]string) error {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy = nil // never from the environment: codes go where the configuration says
		t.MaxIdleConnsPerHost, t.MaxResponseHeaderBytes = 8, 16<<10
	})
	options := []func(*config.LoadOptions) error{
		config.WithRegion(values["region"]), config.WithHTTPClient(transport),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if id := values["access_key_id"]; id != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(id, values["secret_access_key"], "")))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if built, ok := c.HTTPClient.(*awshttp.BuildableClient); ok {
		transport = built // with the certificates of AWS_CA_BUNDLE
	}
	s.http = &http.Client{Transport: transport.GetTransport(), CheckRedirect: stay}
	s.client = awssns.NewFromConfig(c, func(o *awssns.Options) {
		o.HTTPClient = s.http
		if values["endpoint"] != "" {
			o.BaseEndpoint = aws.String(values["endpoint"])
		}
	})
	return nil
}

// stay makes a redirect an ordinary answer: whoever can move a URL must not
// learn the codes.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// UnmarshalCaddyfile reads:
//
//	sender sns {
//		region             REGION
//		access_key_id      TEXT
//		secret_access_key  TEXT
//		sender_id          NAME
//		origination_number NUMBER
//		max_price          DOLLARS
//		endpoint           URL
//		timeout            DURATION
//		countries          COUNTRY…
//	}
func (s *Sender) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return caddymodule.ReadKeys(d, map[string]caddymodule.Key{
		"region":             caddymodule.TextKey(&s.Region),
		"access_key_id":      caddymodule.TextKey(&s.AccessKeyID),
		"secret_access_key":  caddymodule.SecretKey(&s.SecretAccessKey),
		"sender_id":          caddymodule.TextKey(&s.SenderID),
		"origination_number": caddymodule.TextKey(&s.OriginationNumber),
		"max_price":          caddymodule.TextKey(&s.MaxPrice),
		"endpoint":           caddymodule.TextKey(&s.Endpoint),
		"timeout":            caddymodule.TimeoutKey(&s.Timeout),
		"countries":          s.ReadCountries,
	})
}

// Interface guards
var (
	_ caddymodule.Sender    = (*Sender)(nil)
	_ caddyfile.Unmarshaler = (*Sender)(nil)
	_ caddy.Provisioner     = (*Sender)(nil)
)
