package innkeeper_test

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
)

// claims reads an access token without judging it.
func (i *inn) claims(grant *innkeeper.Grant) accesstoken.Claims {
	i.t.Helper()
	found, err := i.Introspect(ctx, grant.AccessToken)
	i.must(err)
	return *found.Claims
}

func TestOpenSession(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	phone := innkeeper.Client{Addr: netip.MustParseAddr("2001:db8::7"), UserAgent: "Mosaic"}
	grant, err := i.OpenSession(ctx, innkeeper.OpenSessionRequest{
		UserID: ada.ID, Methods: []string{"hwk", "user"}, Delivery: innkeeper.DeliverByBody, Device: "phone", Client: phone,
		AuthTime: opening.Add(-time.Hour),
	}, innkeeper.Requester{Actor: "service:web", Client: innkeeper.Client{Addr: netip.MustParseAddr("192.0.2.80"), UserAgent: "backend/1"}})
	i.must(err)
	claims := i.claims(grant)
	if !slices.Equal(claims.AuthMethods, []string{"hwk", "user"}) || !claims.AuthTime.Equal(opening.Add(-time.Hour).Truncate(time.Second)) {
		t.Errorf("the token says %v at %s", claims.AuthMethods, claims.AuthTime)
	}
	row := i.row(grant.Session.ID)
	if !reflect.DeepEqual(*row, grant.Session) || row.Client != phone || row.Device != "phone" || row.Generation != 1 {
		t.Errorf("the row is %+v", row)
	}
	// S3, T21: the absolute end is counted from when the person proved who they are.
	if want := opening.Add(29*24*time.Hour + 23*time.Hour).Truncate(time.Second); !row.ExpiresAt.Equal(want) {
		t.Errorf("the session ends at %s, want %s", row.ExpiresAt, want)
	}
	events := i.events()
	last := events[len(events)-1]
	if last.Kind != innkeeper.EventSessionStarted || last.Actor != "service:web" || last.UserID != ada.ID || last.Detail["amr"] != "hwk user" || !last.At.Equal(opening) {
		t.Errorf("logged %+v", last)
	}
	// The client of the event is what the program says of the person; what it is itself stands beside that.
	if last.Client != phone || last.Detail["by_ip"] != "192.0.2.80" || last.Detail["by_user_agent"] != "backend/1" {
		t.Errorf("logged %+v", last)
	}
	next := i.refresh(grant, ownKey(grant))
	if again := i.claims(next); !slices.Equal(again.AuthMethods, claims.AuthMethods) || !again.AuthTime.Equal(claims.AuthTime) {
		t.Errorf("after a refresh the token says %v at %s", again.AuthMethods, again.AuthTime)
	}

	byName, err := i.OpenSession(ctx, innkeeper.OpenSessionRequest{
		Username: "ADA", Delivery: innkeeper.DeliverByCookie, AuthTime: opening.Add(30 * time.Second), // a clock that is fast
	}, innkeeper.Actor("service:web"))
	i.must(err)
	if !byName.Session.CreatedAt.Equal(opening) || byName.Session.Methods != nil || byName.Subject.ID != ada.ID {
		t.Errorf("opened %+v", byName.Session)
	}
}

func TestOpenSessionRefuses(t *testing.T) {
	i := openInn(t)
	ada, boss, carol := i.addUser("ada"), i.addUser("boss"), i.addUser("carol")
	roles := []string{innkeeper.RoleAdmin}
	_, err := i.UpdateUser(ctx, boss.ID, innkeeper.UserUpdate{Roles: &roles}, innkeeper.ActorOperator)
	i.must(err)
	i.must(i.disable(carol.ID))
	good := innkeeper.OpenSessionRequest{UserID: ada.ID, Delivery: innkeeper.DeliverByBody}
	for name, test := range map[string]struct {
		change func(*innkeeper.OpenSessionRequest)
		want   error
		field  string
	}{
		"nobody":             {func(r *innkeeper.OpenSessionRequest) { r.UserID = innkeeper.UserID{} }, nil, "user_id"},
		"both":               {func(r *innkeeper.OpenSessionRequest) { r.Username = "ada" }, nil, "user_id"},
		"an unknown id":      {func(r *innkeeper.OpenSessionRequest) { r.UserID = innkeeper.UserID{1} }, innkeeper.ErrNotFound, ""},
		"an unknown name":    {func(r *innkeeper.OpenSessionRequest) { r.UserID, r.Username = innkeeper.UserID{}, "eve" }, innkeeper.ErrNotFound, ""},
		"a disabled user":    {func(r *innkeeper.OpenSessionRequest) { r.UserID = carol.ID }, innkeeper.ErrUserDisabled, ""},
		"an administrator":   {func(r *innkeeper.OpenSessionRequest) { r.UserID = boss.ID }, innkeeper.ErrUserIsAdmin, ""},
		"no delivery":        {func(r *innkeeper.OpenSessionRequest) { r.Delivery = "" }, nil, "delivery"},
		"a long device":      {func(r *innkeeper.OpenSessionRequest) { r.Device = strings.Repeat("x", 101) }, nil, "device"},
		"many methods":       {func(r *innkeeper.OpenSessionRequest) { r.Methods = make([]string, 17) }, nil, "amr"},
		"an odd method":      {func(r *innkeeper.OpenSessionRequest) { r.Methods = []string{"a b"} }, nil, "amr"},
		"in the future":      {func(r *innkeeper.OpenSessionRequest) { r.AuthTime = opening.Add(2 * time.Minute) }, nil, "auth_time"},
		"longer than it may": {func(r *innkeeper.OpenSessionRequest) { r.AuthTime = opening.Add(-30 * 24 * time.Hour) }, nil, "auth_time"},
	} {
		req := good
		test.change(&req)
		_, err := i.OpenSession(ctx, req, innkeeper.Actor("service:web"))
		var input *innkeeper.InputError
		if test.want != nil && !errors.Is(err, test.want) || test.field != "" && (!errors.As(err, &input) || input.Field != test.field) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	good.UserID, good.AllowAdmin = boss.ID, true
	_, err = i.OpenSession(ctx, good, innkeeper.ActorOperator)
	i.must(err)
}

// A service that opens sessions for everybody but administrators has none of somebody
// who becomes one, neither later nor in the same moment.
func TestOpenSessionEndsWithTheRoleAdmin(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	promote := func() error {
		_, err := i.UpdateUser(ctx, ada.ID, innkeeper.UserUpdate{Roles: &[]string{innkeeper.RoleAdmin}}, innkeeper.ActorOperator)
		return err
	}
	req := innkeeper.OpenSessionRequest{UserID: ada.ID, Delivery: innkeeper.DeliverByBody}
	grant, err := i.OpenSession(ctx, req, innkeeper.Actor("service:web"))
	i.must(err)
	i.must(promote())
	var ended *innkeeper.SessionEndedError
	_, err = i.Refresh(ctx, innkeeper.RefreshRequest{RefreshTokens: []string{grant.RefreshToken.Reveal()}, Delivery: innkeeper.DeliverByBody})
	if !errors.As(err, &ended) || ended.Reason != innkeeper.ReasonAdmin {
		t.Errorf("refresh: %v", err)
	}

	mine := i.login("ada") // a password is another matter
	i.must(promote())      // once more: nothing new
	i.refresh(mine, noKey)

	_, err = i.UpdateUser(ctx, ada.ID, innkeeper.UserUpdate{Roles: new([]string)}, innkeeper.ActorOperator)
	i.must(err)
	i.tap.once("CreateSession", promote)
	_, err = i.OpenSession(ctx, req, innkeeper.Actor("service:web"))
	i.want(err, innkeeper.ErrUserIsAdmin)
}

// The user is disabled between the read and the write: the session is born under the
// epoch that was read, or not at all.
func TestOpenSessionAgainstDisabling(t *testing.T) {
	i := openInn(t)
	ada := i.addUser("ada")
	i.tap.once("CreateSession", func() error { return i.disable(ada.ID) })
	_, err := i.OpenSession(ctx, innkeeper.OpenSessionRequest{UserID: ada.ID, Delivery: innkeeper.DeliverByBody}, innkeeper.Actor("service:web"))
	i.want(err, innkeeper.ErrUserDisabled)
	if n := len(i.sessions(ada.ID)); n != 0 {
		t.Errorf("%d sessions are alive", n)
	}
}
