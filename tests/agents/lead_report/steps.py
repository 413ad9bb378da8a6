"""The function nodes."""

EXECUTED = True


def score(leads):
    return {"score": len(leads), "good": len(leads) > 1}


def reject():
    return "too few leads"
