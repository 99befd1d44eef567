package sns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Name returns the kind.
func (*Sender) Name() string { return "sns" }

// Limit returns the time one attempt may take.
func (s *Sender) Limit() time.Duration { return time.Duration(s.Timeout) }

// Close drops idle connections.
func (s *Sender) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// attributes are what each message carries: codes are transactional, which the
// networks carry first.
func attributes(values map[string]string) map[string]types.MessageAttributeValue {
	all := map[string]types.MessageAttributeValue{}
	for name, a := range map[string]struct{ kind, value string }{
		"AWS.SNS.SMS.SMSType":          {"String", "Transactional"},
		"AWS.SNS.SMS.SenderID":         {"String", values["sender_id"]},
		"AWS.MM.SMS.OriginationNumber": {"String", values["origination_number"]},
		"AWS.SNS.SMS.MaxPrice":         {"Number", values["max_price"]},
	} {
		if a.value != "" {
			all[name] = types.MessageAttributeValue{DataType: aws.String(a.kind), StringValue: aws.String(a.value)}
		}
	}
	return all
}

// Send publishes the text to the number.
func (s *Sender) Send(ctx context.Context, m auth.Message) error {
	out, err := s.client.Publish(ctx, &awssns.PublishInput{
		PhoneNumber: aws.String(m.To), Message: aws.String(m.Text), MessageAttributes: s.attributes,
	})
	switch {
	case err != nil:
		return verdict(ctx, err)
	case aws.ToString(out.MessageId) == "":
		return errors.New("answered without a message's id")
	}
	return nil
}

// ofNumber are the errors that speak of the one message: no valid number, or
// its owner has opted out (docs.aws.amazon.com/sns/latest/api/API_Publish.html).
var ofNumber = []string{"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "OptedOut"}

// verdict keeps of an error what may be logged: AWS repeats the number in its
// messages.
func verdict(ctx context.Context, err error) error {
	var answer smithy.APIError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	case !errors.As(err, &answer):
		return errors.New("no answer that makes sense, or no credentials")
	case slices.Contains(ofNumber, answer.ErrorCode()):
		return fmt.Errorf("answered %s: %w", answer.ErrorCode(), caddymodule.ErrRefused)
	}
	return fmt.Errorf("answered %.64q", answer.ErrorCode())
}
