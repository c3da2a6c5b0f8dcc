#!/usr/bin/python3
"""Writes conf/examples/event-1000.json: a request body for POST /admin/batch-mint with 1,000 tickets of one concert hall.

The same output every time: seats are laid out block by block, nothing is random. usage: make-event.py [TICKETS] > FILE
"""
import json
import sys

VENUE = "venue-harbour-hall"
EVENT = "event-2026-12-05-opening-night"
# tier, blocks, rows per block, seats per row, price: 40 + 160 + 300 + 500 seats
TIERS = (
    ("Box", ("L", "R"), 5, 4, "240.00"),
    ("VIP", ("A",), 8, 20, "180.00"),
    ("Stalls", ("B", "C"), 10, 15, "95.00"),
    ("Balcony", ("D", "E"), 10, 25, "55.00"),
)


def seats():
    while True:
        for tier, blocks, rows, per_row, price in TIERS:
            for block in blocks:
                for row in range(1, rows + 1):
                    for number in range(1, per_row + 1):
                        yield tier, block, row, number, price


def ticket(place, seat):
    tier, block, row, number, price = seat
    return {
        "id": f"hh-2026-12-05-{place:06d}",
        "eventId": EVENT,
        "userId": f"guest-{place:06d}",
        "ticketData": {
            "eventName": "Opening Night",
            "eventDate": "2026-12-05",
            "venue": "Harbour Hall",
            "tier": tier,
            "seatNumber": f"{block}-{row:02d}-{number:02d}",
            "entrance": "West" if block in "LABD" else "East",
            "doors": "19:00",
            "price": {"amount": price, "currency": "EUR"},
        },
    }


def main():
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    write = sys.stdout.write
    write('{\n"venueId": ' + json.dumps(VENUE) + ',\n"tickets": [\n')
    for place, seat in zip(range(1, total + 1), seats()):
        write(json.dumps(ticket(place, seat), separators=(", ", ": ")))
        write(",\n" if place < total else "\n")
    write("]\n}\n")


if __name__ == "__main__":
    main()
