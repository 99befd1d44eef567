package admin

import (
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// deviceAnswer is a device as operators see it.
type deviceAnswer struct {
	ID              string    `json:"device_id"`
	Type            string    `json:"device_type"`
	Name            string    `json:"device_name"`
	Platform        string    `json:"platform"`
	PlatformVersion string    `json:"platform_version"`
	AppVersion      string    `json:"app_version"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

func deviceOf(d auth.Device) deviceAnswer {
	return deviceAnswer{d.ID, d.Type, d.Name, d.Platform, d.PlatformVersion, d.AppVersion, d.CreatedAt, d.UpdatedAt}
}

// devices answers GET /users/{id}/devices.
func (a *Admin) devices(c *call) (any, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	query, err := c.query("limit", "after")
	if err != nil {
		return nil, err
	}
	most, err := limit(query)
	if err != nil {
		return nil, err
	}
	devices, err := c.operator.Devices(c.Context(), id, query.Get("after"), most)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Devices []deviceAnswer `json:"devices"`
		Next    string         `json:"next,omitempty"`
	}{Devices: []deviceAnswer{}}
	for _, d := range devices {
		answer.Devices = append(answer.Devices, deviceOf(d))
	}
	if len(devices) == most {
		answer.Next = devices[most-1].ID
	}
	return answer, nil
}

// deleteDevice answers POST /users/{id}/devices/delete.
func (a *Admin) deleteDevice(c *call) (any, error) {
	var in struct {
		ID string `json:"device_id"`
	}
	id, err := c.about(&in)
	if err != nil {
		return nil, err
	}
	if in.ID == "" {
		return nil, invalid("device_id is required.")
	}
	return nil, c.operator.DeleteDevice(c.Context(), id, in.ID)
}
