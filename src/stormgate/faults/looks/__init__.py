"""What is seen around a fault: users who are served before it, traffic it will meet, and that it
holds while it stands.
"""
