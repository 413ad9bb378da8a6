"""What sends."""


def put_out(draft: str, contact_count: int) -> dict:
    return {"sent": [f"{draft} #{number}" for number in range(1, contact_count + 1)]}
