package redisadapter

import "context"

// exactBus subscribes to the channels of the rooms of this node one by one. When broadcasts are kept for clients that come back every node
// hears all of them, and it is an ordinary one.
type exactBus struct {
	*classicBus
	rooms *roomChannels
}

// InOrder implements adapter.Sequencer.
func (b *exactBus) InOrder() {
	b.rooms.close()
	b.classicBus.InOrder()
}

func (b *exactBus) RoomCreated(room string) {
	b.rooms.created(room, b.codec.RoomChannel(room), b.takeBroadcast)
}

func (b *exactBus) RoomDeleted(room string) { b.rooms.deleted(room) }

func (b *exactBus) WaitJoined(ctx context.Context, rooms []string) error {
	return b.rooms.wait(ctx, rooms)
}

func (b *exactBus) Close() error {
	b.rooms.close()
	return b.classicBus.Close()
}
