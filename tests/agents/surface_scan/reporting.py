"""What is done without a model."""


def final(findings, risk):
    return f"{findings}, risk {risk:.1f}"


def give_up(host):
    return f"{host} could not be scanned"
