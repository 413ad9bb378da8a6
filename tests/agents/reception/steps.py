"""The function nodes."""


def room(purpose):
    return "hall" if "drill" in purpose else "office"


def prepare(room):
    return f"{room} is swept"
